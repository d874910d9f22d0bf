"""CRMs in memory, some with hostile names, and the page that is written of them."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime
from html.parser import HTMLParser

from crmbridge.bridge import Bridge
from crmbridge.config import in_memory
from crmbridge.model import Entity
from crmbridge.testing.memory import MemoryAdapter, MemoryCrm, MemoryOptions

AS_OF = datetime(2026, 6, 15, 12, tzinfo=UTC)
HOSTILE = (
    "<script>alert(1)</script> & \"Fair\" 'x'",
    "حملة الربيع 2026",
    '=HYPERLINK("http://evil.example")',
    "\u202egnp.exe \u2066trick",
    "</style></svg><img src=x onerror=alert(2)>",
    "A" * 400,
)


def renamed(world, names=HOSTILE):
    """The world's campaigns under these names, as far as they go."""
    campaigns = world.records[Entity.CAMPAIGN]
    for number, name in enumerate(names):
        campaigns[number] = campaigns[number].model_copy(update={"name": name})
    return world


@contextmanager
def opened(folder, records, *, clock=None, **attribution):
    """A bridge that has pulled these records; keywords are of `[attribution]`."""
    settings = in_memory({"workspace": {"folder": str(folder), "time_zone": "UTC"}, "attribution": attribution})
    adapter = MemoryAdapter(MemoryOptions(crm=MemoryCrm(records)))
    with Bridge(settings, adapter=adapter, **({"clock": clock} if clock else {})) as bridge:
        bridge.pull()
        yield bridge


class Page(HTMLParser):
    """What a page is made of.

    Attributes:
        tags: (name, attributes) in order.
        text: what people read.
        drawn: what of it stands in pictures.
        headings: levels in order.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[int] = []
        self._texts: list[str] = []
        self._silent = 0
        self._pictures = 0
        self._drawn: list[str] = []
        self.feed(html)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self._texts).split())

    @property
    def drawn(self) -> str:
        return "\n".join(self._drawn)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._silent += tag == "style"
        self._pictures += tag == "svg"
        if tag in ("h1", "h2", "h3", "h4"):
            self.headings.append(int(tag[1]))

    def handle_endtag(self, tag):
        self._silent -= tag == "style"
        self._pictures -= tag == "svg"

    def handle_data(self, data):
        if not self._silent:
            self._texts.append(data)
            if self._pictures:
                self._drawn.append(data)
