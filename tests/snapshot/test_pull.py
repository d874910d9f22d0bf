from __future__ import annotations
from dict_crm import rows
from crmbridge.snapshot import RESOLVED
def test_thin(pulled):
    s = pulled({"account":[{"id":"a1","website":"https://www.acme.co.uk/x"}],
      "contact":[{"id":"c1","account_id":"a1","email":"Anna@acme.co.uk ","last_name":"M"},{"id":"c2","email":"anna@acme.co.uk","last_name":"m."}],
      "opportunity":[{"id":"o1","account_id":"a1"}],
      "contact_role":[{"id":"r1","opportunity_id":"o1","contact_id":"c2"}]})
    assert rows(s,"select contact_id, person_key, email_domain from resolved.contacts order by 1")==[("c1",1,"acme.co.uk"),("c2",1,"acme.co.uk")]
    assert rows(s,"from resolved.account_domains")==[("a1","acme.co.uk")]
    print(s.meta, s.counts(), s.findings())
    f = s.frames()
    for name, schema in RESOLVED.items():
        got = getattr(f,name).collect().to_native().schema
        assert got.names==schema.names and got.types==schema.types, name
