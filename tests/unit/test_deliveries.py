"""What was current when: the rules of deliveries against a second, independent model (DESIGN, section 4)."""

from __future__ import annotations

from datetime import date, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from cradle.catalog.deliveries import Delivery, File, dated_folder, due, state, without_date
from cradle.installation import Installation, Source

START = date(2024, 1, 1)
DAYS = [START + timedelta(days=number) for number in range(5)]


def source(delivery: str, name: str = "sales") -> Source:
    return Source(name=name, role="sales", format="csv", files=("*.csv",), delivery=delivery)


def file(path: str, content: str) -> File:
    return File(path, content, len(content))


def run(one: Source, inbox: dict[str, str], known: list[Delivery], day: date) -> list[Delivery]:
    """Do what a night does: find what is due and record it in its newest version."""
    present = [file(path, content) for path, content in inbox.items()]
    old = bool(known) and day < max(delivery.logical_date for delivery in known)
    newest = {(delivery.source, delivery.logical_date): delivery for delivery in known}
    for delivery in due(one, present, known, day, old=old):
        newest[delivery.source, delivery.logical_date] = delivery
    return [newest[key] for key in sorted(newest)]


def contents(one: Source, known: list[Delivery], day: date) -> list[str]:
    return [original.file.sha256 for original in state(known, Installation(sources=(one,)), day).originals("sales")]


def test_a_full_source_is_its_newest_delivery_even_when_it_returns_to_an_earlier_one() -> None:
    one, known = source("full"), list[Delivery]()
    for day, content in zip(DAYS, ("A", "B", "A"), strict=False):
        known = run(one, {"x.csv": content}, known, day)
    assert [contents(one, known, day) for day in DAYS[:4]] == [["A"], ["B"], ["A"], ["A"]]


def test_an_unchanged_inbox_is_no_new_delivery() -> None:
    one = source("full")
    known = run(one, {"x.csv": "A"}, [], DAYS[0])
    assert run(one, {"x.csv": "A"}, known, DAYS[1]) == known
    assert run(one, {"renamed.csv": "A"}, known, DAYS[1]) == known


def test_an_undated_file_keeps_the_date_on_which_it_first_arrived() -> None:
    one = source("incremental")
    known = run(one, {"a.csv": "A"}, [], DAYS[1])
    known = run(one, {"a.csv": "A", "b.csv": "B"}, known, DAYS[2])
    assert contents(one, known, DAYS[1]) == ["A"]
    assert contents(one, known, DAYS[2]) == ["A", "B"]


def test_a_run_for_an_old_date_claims_no_undated_file() -> None:
    one = source("full")
    known = run(one, {"x.csv": "A"}, [], DAYS[3])
    assert run(one, {"x.csv": "B"}, known, DAYS[1]) == known


def test_a_correction_of_a_period_changes_its_date_and_the_later_ones() -> None:
    one = source("incremental")
    first = {f"{DAYS[0]}/a.csv": "A", f"{DAYS[1]}/b.csv": "B"}
    known = run(one, first, [], DAYS[1])
    known = run(one, {**first, f"{DAYS[0]}/a.csv": "A2"}, known, DAYS[2])
    assert contents(one, known, DAYS[0]) == ["A2"]
    assert contents(one, known, DAYS[2]) == ["A2", "B"]


def test_an_undated_file_is_kept_when_a_dated_one_joins_its_date() -> None:
    one = source("incremental")
    known = run(one, {"a.csv": "A"}, [], DAYS[0])
    known = run(one, {"a.csv": "A", f"{DAYS[0]}/b.csv": "B"}, known, DAYS[0])
    assert sorted(contents(one, known, DAYS[0])) == ["A", "B"]


dated_inboxes = st.dictionaries(
    st.tuples(st.sampled_from(DAYS), st.sampled_from(["a.csv", "b.csv"])), st.sampled_from("ABCDEF"), min_size=1
)


@given(inbox=dated_inboxes, order=st.permutations(DAYS), delivery=st.sampled_from(["full", "incremental"]))
@settings(max_examples=200, deadline=None)
def test_dated_folders_give_the_same_state_in_any_order_and_twice(
    inbox: dict[tuple[date, str], str], order: list[date], delivery: str
) -> None:
    """The oracle reads the folders directly: no deliveries, no versions."""
    one, known = source(delivery), list[Delivery]()
    files = {f"{day}/{name}": content for (day, name), content in inbox.items()}
    for day in [*order, *order]:
        known = run(one, files, known, day)
        assert contents(one, known, day) == oracle(inbox, day, delivery)
    for day in DAYS:
        assert contents(one, known, day) == oracle(inbox, day, delivery)


def oracle(inbox: dict[tuple[date, str], str], day: date, delivery: str) -> list[str]:
    reached = sorted(key for key in inbox if key[0] <= day)
    if delivery == "full":
        reached = [key for key in reached if key[0] == reached[-1][0]]
    found: list[str] = []
    for key in reached:  # delivered twice counts once, where it was delivered last
        content = inbox[key]
        found = [*(one for one in found if one != content), content]
    return found


def test_the_newer_date_counts_across_the_sources_of_a_role() -> None:
    """A full source that delivered last is newer than any period of an incremental one."""
    parts, whole = source("incremental", "parts"), source("full", "whole")
    known = [
        Delivery("parts", DAYS[0], 1, (file(f"{DAYS[0]}/a", "A"),)),
        Delivery("parts", DAYS[1], 1, (file(f"{DAYS[1]}/b", "B"),)),
        Delivery("whole", DAYS[2], 1, (file("w", "W"),)),
    ]
    found = state(known, Installation(sources=(whole, parts)), DAYS[3]).originals("sales")
    assert {one.file.sha256: one.delivery for one in found} == {"A": 0, "B": 1, "W": 2}


def test_a_dated_folder_is_told_from_any_other() -> None:
    assert dated_folder("sales/2024-02-29/x.csv") == date(2024, 2, 29)
    assert dated_folder("sales/2023-02-29/x.csv") is None
    assert dated_folder("2024-01-01.csv") is None
    assert without_date("sales/2024-02-29/x.csv") == "sales/x.csv"
    assert without_date("sales/2023-02-29/x.csv") == "sales/2023-02-29/x.csv"
