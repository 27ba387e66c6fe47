"""The guard set of user nodes over a year, few users; the marks of time it is looked at."""

from evals.anonymity.guards_over_time import DAYS, STEP, _looks, real_guards


def test_every_day_of_the_year_is_looked_at_once() -> None:
    days = [day for looks in _looks() for day in looks]
    assert days == [number * STEP for number in range(len(days))] and days[-1] <= DAYS[-1] < days[-1] + STEP


def test_nothing_changes_for_sixty_days_and_something_later() -> None:
    found = [each.mean for each in real_guards(0.2, 12, seed=2)]
    assert found[0] == found[1] == found[2] and found == sorted(found) and found[-1] > found[0]
