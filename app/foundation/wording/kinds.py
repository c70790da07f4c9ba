"""The words of one code."""

from typing import NamedTuple


class Words(NamedTuple):
    """The sentences of one code, without a capital letter at the beginning and a full stop at the end."""

    api: str
    page: str = ""  # empty: as for the API

    @property
    def shown(self) -> str:
        """The sentence for the API with the names of its parameters in braces."""
        return self.api.replace("{{", "{").replace("}}", "}")
