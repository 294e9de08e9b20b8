"""A coordinator's turn at one store: what its planning, sending and settling share."""

from __future__ import annotations

from dataclasses import dataclass, field

from marketplace_sync.connectors.base import Connector, StockLine
from marketplace_sync.listings.listing import Listing
from marketplace_sync.sites.port import Site, Store
from marketplace_sync.stock.decision import Decision
from marketplace_sync.stock.outcomes import Timing

STATE = "`tabMarketplace Store State`"


@dataclass(slots=True)
class DrainReport:
	"""What one drain did. Counts of listings, except `calls`."""

	store: str
	calls: int = 0
	sent: int = 0
	acknowledged: int = 0
	skipped: int = 0
	"""Already right: no call was needed."""
	held: int = 0
	read_back: int = 0
	more: bool = False
	"""Time ran out with work left: call again."""
	next_due: float | None = None
	"""UNIX time at which something of this store becomes due, when nothing is due now."""
	why_not: str = ""
	"""Why nothing was done at all."""


@dataclass(slots=True)
class Planned:
	"""A listing that was looked at, and what shall be done with it."""

	listing: Listing
	decision: Decision
	stocked: bool


@dataclass(slots=True)
class Call:
	"""One call to the marketplace: the listings in it, and when it may start (UNIX time, earliest and latest)."""

	planned: list[Planned]
	reads: bool
	lines: list[StockLine] = field(default_factory=list)
	not_before: float = 0.0
	spacing: float = 0.0
	"""Seconds from the call before it: a coordinator that was held up does not make up for it with a burst."""
	send_before: float = 0.0
	token: str = field(default="", repr=False)
	"""The access token that it was planned with, the only one that it is sent with."""


@dataclass(slots=True)
class Turn:
	"""The store as it was when the turn began, the lease, and what was learned on the way."""

	site: Site
	store: Store
	connector: Connector
	timing: Timing
	token: int
	normal_rate: float
	closed_locations: frozenset[str]
	failures: int
	"""Calls in a row that the marketplace did not answer."""
	report: DrainReport
	blocked_until: float = 0.0
	stopped: bool = False
	"""The store's circuit opened, or it was disabled, while we worked."""
	refreshes: int = 0
	reading: set[str] = field(default_factory=set)
	"""Listings with a read-back in the air."""
	lines_limit: dict[str, int] = field(default_factory=dict)
	"""Listings of a batch that was refused as a whole: how many may share a call, until the row is found."""

	@property
	def name(self) -> str:
		return self.store.name
