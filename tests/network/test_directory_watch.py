"""What guards say about the directory: agreement, a fork, news, and a liar who is outvoted."""

from dataclasses import replace

from network.chain_records import DirectoryRecord
from network.directory import Directory
from network.directory_summary import DirectorySummary, summary_of
from network.directory_watch import DirectoryWatch, Verdict

ONE, TWO, THREE = b"1" * 20, b"2" * 20, b"3" * 20


def _directory(height: int, before: Directory | None = None, epoch: int = 1) -> Directory:
    previous = before.hash if before is not None else b""
    return Directory(DirectoryRecord("chain", epoch, height, previous, ()), height + 1, before)


def _forged(directory: Directory) -> DirectorySummary:
    return replace(summary_of(directory), hash=b"f" * 32)


def test_who_names_the_same_directory_agrees_and_who_names_another_of_its_height_differs() -> None:
    watch, directory = DirectoryWatch(), _directory(10)
    assert watch.verdict(ONE) is Verdict.UNKNOWN and not watch.forked([ONE])
    watch.note(directory)
    watch.heard(ONE, summary_of(directory))
    watch.heard(TWO, _forged(directory))
    assert (watch.verdict(ONE), watch.verdict(TWO)) == (Verdict.AGREES, Verdict.DIFFERS)


def test_a_fork_needs_as_many_who_differ_as_agree() -> None:
    watch, directory = DirectoryWatch(), _directory(10)
    watch.note(directory)
    watch.heard(ONE, _forged(directory))
    assert watch.forked([ONE, TWO, THREE]), "nobody confirms our directory"
    watch.heard(TWO, summary_of(directory))
    assert watch.forked([ONE, TWO, THREE]), "one word against another"
    watch.heard(THREE, summary_of(directory))
    assert not watch.forked([ONE, TWO, THREE]), "outvoted"
    watch.keep_only([TWO, THREE])
    assert watch.verdict(ONE) is Verdict.UNKNOWN


def test_a_claim_from_ahead_is_judged_when_we_get_there() -> None:
    watch, first = DirectoryWatch(), _directory(10)
    second = _directory(20, first)
    watch.note(first)
    watch.heard(ONE, summary_of(second))
    watch.heard(TWO, _forged(second))
    assert watch.verdict(ONE) is watch.verdict(TWO) is Verdict.NEWER
    watch.note(second)
    assert (watch.verdict(ONE), watch.verdict(TWO)) == (Verdict.AGREES, Verdict.DIFFERS)


def test_who_lags_is_known_by_our_memory_or_by_what_ours_follows() -> None:
    watch, oldest = DirectoryWatch(), _directory(5)
    unseen = _directory(10, oldest)
    watch.note(_directory(20, unseen))
    watch.heard(ONE, summary_of(unseen))
    watch.heard(TWO, summary_of(oldest))
    watch.heard(THREE, summary_of(_directory(4)))
    assert [watch.verdict(guard) for guard in (ONE, TWO, THREE)] == [Verdict.AGREES, Verdict.AGREES, Verdict.UNKNOWN]


def test_another_chain_says_nothing_about_ours() -> None:
    watch, directory = DirectoryWatch(), _directory(10)
    watch.note(directory)
    watch.heard(ONE, replace(_forged(directory), chain_id="another"))
    assert watch.verdict(ONE) is Verdict.UNKNOWN and not watch.forked([ONE])


def test_an_old_directory_is_noticed_by_the_median_of_the_guards() -> None:
    watch = DirectoryWatch()
    assert watch.epochs_behind([ONE]) == 0
    watch.note(_directory(10, epoch=3))
    watch.heard(ONE, summary_of(_directory(90, epoch=9)))
    watch.heard(TWO, summary_of(_directory(40, epoch=5)))
    watch.heard(THREE, summary_of(_directory(10, epoch=3)))
    assert watch.epochs_behind([ONE, TWO, THREE]) == 2
    assert watch.epochs_behind([TWO, THREE]) == 0


def test_memory_is_bounded() -> None:
    watch, directory = DirectoryWatch(), None
    for height in range(1, 300):
        directory = _directory(height, directory)
        watch.note(directory)
        watch.heard(ONE, summary_of(directory))
    assert len(watch._known) == 64 and len(watch._claims[ONE]) == 4
