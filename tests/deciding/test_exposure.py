"""Bounds on groups of actions hold in every stored decision, are logged as drawn, and may change while an experiment runs."""

import math
from typing import Any

import pytest

from app.foundation.errors import Conflict, Unprocessable
from tests.lab import Lab
from tests.service import query

ACTIONS = [{"id": f"a{n}", "features": {"supplier": "big" if n < 4 else "small"}} for n in range(5)]
EVEN = {"by": "supplier", "parity": 0.05}
DRAWN = "SELECT distribution, eligible, policy_version FROM decisions WHERE experiment_id = %s ORDER BY decided_at, id"


def arms(exposure: dict[str, Any] | None) -> list[dict[str, Any]]:
    policy: dict[str, Any] = {"type": "bandit", "algorithm": "squarecb", "parameters": {"bits": 12}}
    return [{"key": "learned", "share": 1.0, "policy": policy | ({"exposure": exposure} if exposure else {})}]


def test_a_small_supplier_keeps_its_share_while_the_other_pays_and_the_audit_repeats_it(lab: Lab) -> None:
    experiment_id = lab.make("suppliers", actions=ACTIONS, arms=arms(EVEN))

    def pays(_: dict[str, Any], answer: dict[str, Any]) -> float:
        return float(answer["action"]["id"] == "a0")

    for part in range(4):
        lab.play("suppliers", [{"unit_id": f"u{part}-{n}"} for n in range(100)], pays)
    rows = query(lab.database_url, DRAWN, experiment_id)
    small = [math.fsum(p for p, name in zip(row[0], row[1], strict=True) if name == "a4") for row in rows]
    assert all(0.45 - 1e-12 <= share <= 0.55 + 1e-12 for share in small)
    assert rows[-1][0][0] > 0.35 and rows[-1][2] == 3, "of the rest, the model chooses what pays"
    lab.change("suppliers", arms=arms(None))
    lab.play("suppliers", [{"unit_id": f"late{n}"} for n in range(50)], pays)
    freed = query(lab.database_url, DRAWN, experiment_id)[-1]
    assert freed[0][4] < 0.2 and freed[2] >= 4, "the model goes on without the bounds"
    lab.change("suppliers", arms=arms({"by": "action", "least": 0.1}))
    lab.play("suppliers", [{"unit_id": f"later{n}"} for n in range(50)], pays)
    assert min(query(lab.database_url, DRAWN, experiment_id)[-1][0]) == pytest.approx(0.1)
    report = lab.audit("suppliers")
    assert report.ok, report.findings


def test_other_parts_of_a_running_policy_stay_fixed(lab: Lab) -> None:
    lab.make("fixed-else", actions=ACTIONS, arms=arms(EVEN))
    other = arms(EVEN)
    other[0]["policy"]["exploration_floor"] = 0.5
    with pytest.raises(Conflict) as caught:
        lab.change("fixed-else", arms=other)
    assert [field.code for field in caught.value.fields] == ["policy_fixed"]
    with pytest.raises(Unprocessable) as caught:
        lab.change("fixed-else", arms=arms({"by": "supplier", "least": 0.9}))
    assert [(field.path, field.code) for field in caught.value.fields] == [
        ("/arms/0/policy/exposure/least", "policy_exposure")
    ]
