"""What each version did while it served, against a computation of its own."""

import numpy as np
import pytest

from app.foundation.errors import NotFound
from app.verification import scorecards
from tests.page_client import Browser
from tests.service import Loop, query

KEY = "cards"


@pytest.fixture(scope="module")
def made(loop: Loop) -> int:
    made = loop.learn(KEY, 60)
    loop.more(KEY, made, 80)
    loop.decide(KEY, [{"context": {"n": n % 5}} for n in range(20)])  # not settled
    return made


def test_reward_loss_and_exploration_of_each_version(loop: Loop, made: int) -> None:
    rows = query(
        loop.database_url,
        "SELECT d.policy_version, d.distribution, d.chosen, o.reward FROM decisions d LEFT JOIN outcomes o"
        " ON o.decision_id = d.id AND o.experiment_id = d.experiment_id WHERE d.experiment_id = %s",
        made,
    )
    cards = scorecards.get(loop.runtime.engine, KEY, "learned").scorecards
    assert [(card.version, card.decisions, card.settled) for card in cards] == [(2, 20, 0), (1, 80, 80), (0, 60, 60)]
    assert (cards[0].reward, cards[0].loss) == (None, None)
    assert cards[2].explored == 0.0  # untrained: it liked every action alike
    for card in cards[1:]:
        own = [row for row in rows if row[0] == card.version]
        liked = [row for row in own if row[1][row[2]] == max(row[1])]
        weights = np.array([1 / row[1][row[2]] for row in liked])
        assert card.reward == pytest.approx(np.mean([row[3] for row in own]))
        assert card.explored == pytest.approx(1 - len(liked) / len(own))
        assert card.loss == pytest.approx(1 - np.average([row[3] for row in liked], weights=weights))
    assert 0 < cards[1].explored < 0.5 and cards[1].reward is not None and cards[1].reward > 0.6


def test_the_cards_stand_where_versions_stand(loop: Loop, made: int, viewer: Browser) -> None:
    page = viewer.get(f"/admin/experiments/{KEY}/policy").text
    assert "While it served" in page and "80 decisions" in page and "explored; loss" in page
    with pytest.raises(NotFound):
        scorecards.get(loop.runtime.engine, KEY, "ghost")
