"""What ERPNext can really sell: items and bundles, Actual, Reserved and Held, and what of it a store is to show."""
