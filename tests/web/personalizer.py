"""What the tests of Personalizer's clients share."""

from typing import Any

from tests.service import Client, Web, bandit, make_key

ALL = ("decide", "reward", "read", "manage")
CONTEXT = [{"timeOfDay": "morning", "weather": "sunny"}, {"device": {"kind": "mobile", "width": 390}}]
ACTIONS = [
    {"id": name, "features": [{"taste": taste}, {"price": price}]}
    for name, taste, price in (("pasta", "salty", 7.5), ("ice cream", "sweet", 3), ("salad", "fresh", 5.25))
]


def bound(web: Web, database_url: str, experiment: str, *scopes: str) -> Client:
    """A caller with a key for one experiment, as that service's clients send it."""
    key = make_key(database_url, *(scopes or ALL), experiment=experiment)
    return Client(web.port, headers={"Ocp-Apim-Subscription-Key": key})


def make(client: Client, key: str, **fields: Any) -> None:
    """An experiment without actions, with one arm that learns."""
    client.make(key, **{"actions": [], "arms": bandit("squarecb"), "reward": {"window_s": 600.0}, **fields})
