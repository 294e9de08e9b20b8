"""The marketplace's own warehouses of a store, kept in its state."""

from __future__ import annotations

import json
from dataclasses import asdict

from marketplace_sync.connectors.base import Location, patiently
from marketplace_sync.coordination.rate import pace_of
from marketplace_sync.sites.port import Site

_STATE = "`tabMarketplace Store State`"


def refresh_locations(site: Site, store: str) -> list[Location]:
	"""Ask the marketplace for the store's warehouses and save them. Commits. Raises ServiceError."""
	connector = site.connector(store)
	found = patiently(pace_of(site, site.store(store), connector), connector.locations)
	closed = sorted(place.location_id for place in found if not place.sells)
	site.db.execute(
		f"UPDATE {_STATE} SET locations = %s, closed_locations = %s WHERE name = %s",
		(json.dumps([asdict(place) for place in found]), ",".join(closed), store),
	)
	site.db.commit()
	return found
