"""Wake-ups: after a commit, have a worker look at the outbox or at a store soon.

A wake-up is a key in Redis and a job. The key says that a job is waiting, and the job deletes it before it looks; so
a change that is committed while the job runs always finds the key gone and asks for another one. (Frappe's
deduplication by job id would not do: an id counts as taken while the job *runs*.) Imported by every web process, so it
imports nothing of the engine.
"""

from __future__ import annotations

import frappe

WAKE_EXPIRES = 60
"""Seconds after which a wake-up whose job got lost is forgotten."""


def wake() -> None:
	"""Have the outbox looked at soon. Never raises: it runs after people's commits."""
	_wake("", "marketplace_sync.jobs.sync")


def wake_store(store: str) -> None:
	"""Have one store drained soon. Never raises."""
	_wake(store, "marketplace_sync.jobs.drain_store", store=store)


def wake_orders(store: str) -> None:
	"""Have one store's orders fetched and booked soon. Never raises."""
	_wake(f"orders:{store}", "marketplace_sync.jobs.import_orders", store=store)


def wake_booking(store: str) -> None:
	"""Have what is in one store's inbox booked soon. Never raises."""
	# Behind the synchronisation of stock: booking takes a second an order.
	_wake(f"booking:{store}", "marketplace_sync.jobs.book_orders", "default", store=store)


def wake_accounting(connection: str) -> None:
	"""Have a connection's documents sent soon. Never raises."""
	# Behind stock and booking, as they come from there.
	_wake(
		f"accounting:{connection}", "marketplace_sync.jobs.send_accounting", "default", connection=connection
	)


def answer(store: str = "") -> None:
	"""The job is here: who changes something from now on has to ask again. Never raises."""
	try:
		_redis().delete(_key(store))
	except Exception:
		frappe.logger("marketplace_sync").warning("Could not clear a wake-up", exc_info=True)


def _wake(who: str, method: str, queue: str = "short", **kwargs: str) -> None:
	try:
		redis = _redis()
		if redis.set(_key(who), 1, nx=True, ex=WAKE_EXPIRES):
			try:
				frappe.enqueue(method, queue=queue, **kwargs)
			except Exception:
				redis.delete(_key(who))
				raise
	except Exception:
		# Redis is down: what was changed is in the outbox, and the sweep looks again within minutes.
		frappe.logger("marketplace_sync").warning("Could not wake the synchronisation", exc_info=True)


def _key(store: str) -> str:
	return f"marketplace_sync:wake:{frappe.local.site}:{store}"


def _redis():  # redis.Redis, which Frappe brings along
	from frappe.utils.background_jobs import get_redis_conn

	return get_redis_conn()
