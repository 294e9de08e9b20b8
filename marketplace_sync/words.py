"""Words of a marketplace, made safe to be shown on any page."""

from __future__ import annotations

_MARKUP = str.maketrans({"<": "\u2039", ">": "\u203a"})


def plain(text: str) -> str:
	"""The text without markup: `<` and `>` become ‹ and ›.

	We write with SQL, past the host's own cleaning, and whoever may edit a product on a marketplace chooses these words.
	No item code of ERPNext has `<` or `>` in it, so a SKU that has can't match anyway.
	"""
	return text.translate(_MARKUP)
