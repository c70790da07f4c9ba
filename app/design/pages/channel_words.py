"""How pages call the channels of messages."""

from typing import Final

CHANNELS: Final = {"in_app": "in the app", "push": "push", "email": "e-mail", "sms": "SMS"}
NOUNS: Final = {"in_app": "in-app message", "push": "push message", "email": "e-mail", "sms": "SMS"}
