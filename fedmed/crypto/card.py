"""A party's public card as text: what ``fedmed node init`` prints and the coordinator's roster takes in."""

from __future__ import annotations

import json
import tomllib

from fedmed.crypto.identity import PublicIdentity
from fedmed.errors import ConfigError


def card_text(public: PublicIdentity) -> str:
    """A card as TOML: a table with name and two keys in hexadecimal."""
    # A name has no control characters, so its JSON spelling is TOML's as well.
    lines = (
        f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in card_document(public).items()
    )
    return "\n".join(("[card]", *lines)) + "\n"


def card_document(public: PublicIdentity) -> dict[str, str]:
    """A card's fields, keys in hexadecimal."""
    return {
        "name": public.name,
        "signing_key": public.signing_key.hex(),
        "sealing_key": public.sealing_key.hex(),
    }


def read_card(text: str) -> PublicIdentity:
    """Read a card, TOML or JSON.

    Raises:
        ConfigError: it is not what `card_text` wrote, or holds keys that nobody may have.
    """
    try:
        document = json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
        told = document["card"]
        return PublicIdentity(
            name=told["name"],
            signing_key=bytes.fromhex(told["signing_key"]),
            sealing_key=bytes.fromhex(told["sealing_key"]),
        )
    except (AttributeError, KeyError, TypeError, ValueError, ConfigError):
        raise ConfigError("a card must be what fedmed node init printed: name and two keys") from None
