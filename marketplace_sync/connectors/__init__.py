"""The marketplaces that can be connected. A new one is a file here and a line in CONNECTORS."""

from __future__ import annotations

from .base import Account, Connector
from .shopee import Shopee
from .tiktok_shop import TikTokShop, Tokopedia

CONNECTORS: dict[str, type[Connector]] = {
	"Shopee": Shopee,
	"TikTok Shop": TikTokShop,
	"Tokopedia": Tokopedia,
}


def get_connector(account: Account) -> Connector:
	"""The connector of an account. Raises ValueError, to be shown as it is, when the settings can't be used."""
	if account.marketplace not in CONNECTORS:
		raise ValueError(f"Marketplace: {account.marketplace!r} is none of {', '.join(CONNECTORS)}.")
	return CONNECTORS[account.marketplace](account)


__all__ = ["CONNECTORS", "get_connector"]
