"""A large organisation is read within a minute of the adapter's own processor time, and within 2 GiB."""

import multiprocessing
import resource
import time

import pytest
from orgs import open_adapter

from crmbridge.testing.sandbox import SalesforceSandbox
from crmbridge.testing.sandbox.crowd import crowd_tables

SIZES = {"opportunities": 200_000, "contacts": 500_000, "activities": 1_000_000}
MOST_S, MOST_MIB = 60, 2_048


class Address:
    """Where a sandbox of another process is."""

    def __init__(self, url, session_id):
        self.url, self.session_id = url, session_id


def serve(pipe):
    with SalesforceSandbox(crowd_tables(**SIZES)) as org:
        pipe.send((org.url, org.session_id))
        pipe.recv()


def read_everything(pipe, url, session_id):
    """In a process of its own, so that what is measured is the adapter's."""
    began_s = time.process_time()
    adapter = open_adapter(Address(url, session_id), poll_s=0.5)
    rows = {str(entity): sum(map(len, adapter.read(entity))) for entity in sorted(adapter.capabilities.entities)}
    adapter.close()
    pipe.send((rows, time.process_time() - began_s, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024))


@pytest.mark.large
def test_a_large_organisation_is_read_within_a_minute_and_two_gibibytes():
    spawning = multiprocessing.get_context("spawn")
    here, there = spawning.Pipe()
    server = spawning.Process(target=serve, args=(there,))
    server.start()
    try:
        address = here.recv()
        mine, theirs = spawning.Pipe()
        reader = spawning.Process(target=read_everything, args=(theirs, *address))
        reader.start()
        theirs.close()  # so that a reader that dies is no endless wait
        rows, cpu_s, peak_mib = mine.recv()
        reader.join()
        here.send("done")
        server.join()
    finally:
        server.kill()
    print(f"{sum(rows.values()):,} records, {cpu_s:.1f} s, {peak_mib:,} MiB")
    assert (rows["opportunity"], rows["contact"], rows["activity"]) == tuple(SIZES.values())
    assert cpu_s <= MOST_S
    assert peak_mib <= MOST_MIB
