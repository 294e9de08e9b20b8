// What the forms of this app share: calls, and dialogs that explain.
frappe.provide("marketplace_sync");

(function () {
	const esc = (value) => frappe.utils.escape_html(String(value ?? ""));
	const COLOURS = {
		synced: "green",
		pending: "blue",
		held: "orange",
		rejected: "red",
		disabled: "gray",
		unmapped: "yellow",
	};
	marketplace_sync.states = () => ({
		synced: __("Synced"),
		pending: __("Pending"),
		held: __("Held"),
		rejected: __("Rejected"),
		disabled: __("Disabled"),
		unmapped: __("Unmapped"),
	});
	marketplace_sync.colour = (state) => COLOURS[state] || "gray";
	marketplace_sync.pill = (state) =>
		`<span class="indicator-pill ${marketplace_sync.colour(state)}">${
			marketplace_sync.states()[state] || esc(state)
		}</span>`;

	// What the engine's reason codes mean, in few words.
	marketplace_sync.reason = (code) =>
		({
			mismatch: __("SKU does not match"),
			unmapped: __("Not mapped yet"),
			no_ledger: __("No stock transaction yet"),
			no_item: __("Item does not exist"),
			template: __("Item is a template"),
			not_stock_item: __("Item keeps no stock"),
			too_large: __("Quantity can't be right"),
			no_uom: __("Unit without conversion factor"),
			locations: __("Locations do not fit"),
			banned: __("Banned"),
			inactive: __("Inactive"),
			deleted: __("Deleted"),
			fulfilled_by_marketplace: __("Fulfilled by the Marketplace"),
			promotion: __("Locked by a campaign"),
			clamped: __("Bounded by the marketplace"),
			rejected: __("Rejected"),
			throttled: __("Throttled"),
			unreachable: __("No answer"),
			quarantine: __("Waiting for a lost answer"),
			disabled_item_switch: __("Disabled"),
			orders_unread: __("Orders could not be read"),
			stale: __("Changed on the marketplace meanwhile"),
		}[code] || frappe.utils.escape_html(__(code)));

	// The same words as the engine's; here for lists, which have only the columns.
	marketplace_sync.listing_state = (doc) => {
		if (!doc.item) return "unmapped";
		if (cint(doc.desired_ver) > 0 && cint(doc.acked_ver) >= cint(doc.desired_ver)) return "synced";
		return { "": "pending", "In Flight": "pending", Disabled: "disabled", Rejected: "rejected" }[doc.hold || ""] || "held";
	};

	marketplace_sync.order_colour = (state) =>
		({ "Up to Date": "green", Waiting: "blue", "Needs Attention": "orange" }[state] || "gray");

	// Frappe translates statuses without their context: "Delivered" as if it were "Sent".
	marketplace_sync.order_status = (status) => __(status || "", null, "Marketplace Order");

	// The orders behind a Held Qty, each with a link and why it is not booked yet.
	marketplace_sync.holders = (orders) =>
		orders
			.map((one) => {
				const link = `/app/marketplace-order/${encodeURIComponent(one.order)}`;
				const quantity = format_number(one.quantity, null, Number.isInteger(one.quantity) ? 0 : 3);
				return `<li>${__("{0} × {1} held by order {2} ({3}), not booked yet: {4}", [
					esc(quantity),
					esc(one.item),
					`<a href="${link}">${esc(one.order_id)}</a>`,
					esc(one.store_title),
					esc(one.why),
				])}</li>`;
			})
			.join("");

	marketplace_sync.show_held = (item, warehouse) =>
		frappe.xcall("marketplace_sync.api.held_by", { item, warehouse }).then(({ orders }) =>
			frappe.msgprint({
				title: __("Held Qty of {0}", [esc(item)]),
				indicator: "orange",
				message: orders.length
					? `<ul>${marketplace_sync.holders(orders)}</ul>`
					: __("No order of a store that you may see holds it."),
			})
		);

	marketplace_sync.time = (seconds) => {
		if (!(flt(seconds) > 0)) return __("never");
		const zone = frappe.boot.time_zone && frappe.boot.time_zone.user;
		const at = zone ? moment.unix(flt(seconds)).tz(zone) : moment.unix(flt(seconds));
		const format = `${frappe.datetime.get_user_date_fmt().toUpperCase()} ${frappe.datetime.get_user_time_fmt()}`;
		return `<span title="${esc(at.fromNow())}">${esc(at.format(format))}</span>`;
	};
	marketplace_sync.quantity = (value) => (cint(value) < 0 ? "–" : esc(format_number(cint(value), null, 0)));

	marketplace_sync.table = (columns, rows) => `
		<div style="overflow-x:auto"><table class="table table-bordered table-sm">
			${columns ? `<thead><tr>${columns.map((label) => `<th>${label}</th>`).join("")}</tr></thead>` : ""}
			<tbody>${rows.map((row) => `<tr>${row.map((cell) => `<td>${cell}</td>`).join("")}</tr>`).join("")}</tbody>
		</table></div>`;

	marketplace_sync.sync_now = (args) =>
		frappe.xcall("marketplace_sync.api.sync_now", args).then((answer) => {
			frappe.show_alert({ message: __("The stock is compared with the marketplaces now."), indicator: "green" });
			if (answer.disabled.length) {
				const stores = answer.disabled.map((one) => `<li>${esc(one.title)}: ${esc(one.why)}</li>`).join("");
				frappe.msgprint({
					title: __("Not sent"),
					indicator: "orange",
					message: `${__("Disable Stock Update is ticked on these stores:")}<ul>${stores}</ul>`,
				});
			}
		});

	marketplace_sync.show_why = (item, store) =>
		frappe.xcall("marketplace_sync.api.why", { item, store }).then((answers) => {
			const parts = answers.map((one) => {
				const causes = one.causes
					.map(
						(cause) =>
							`<li><b>${esc(__(cause.title))}</b><br>${esc(cause.evidence)}<br>
							<span class="text-muted">${__("Next")}: ${esc(cause.next_step)}</span></li>`
					)
					.join("");
				const facts = marketplace_sync.table(
					[__("What"), __("Value")],
					Object.entries(one.facts).map(([what, value]) => [esc(what), esc(value)])
				);
				const held = one.holders.length ? `<ul>${marketplace_sync.holders(one.holders)}</ul>` : "";
				return `<h5>${esc(one.store_title)} ${marketplace_sync.pill(one.state)}</h5>
					<p>${esc(one.summary)}</p>${causes ? `<ol>${causes}</ol>` : ""}${held}
					<details><summary>${__("Evidence")}</summary>${facts}</details><hr>`;
			});
			const dialog = new frappe.ui.Dialog({
				title: __("Why not in sync? {0}", [esc(item)]),
				size: "large",
				fields: [{ fieldname: "answer", fieldtype: "HTML" }],
				primary_action_label: __("Sync Now"),
				primary_action: () => {
					dialog.hide();
					marketplace_sync.sync_now({ item, store });
				},
			});
			dialog.fields_dict.answer.$wrapper.html(parts.join("") || __("There is no store yet."));
			dialog.show();
		});

	marketplace_sync.dry_run = (frm) =>
		frappe
			.xcall("marketplace_sync.api.preview", { store: frm.doc.name })
			.then((answer) => {
				const actions = {
					send: __("would be sent"),
					"read back": __("would be read back first"),
					"no call needed": __("already right"),
					hold: __("would not be sent"),
				};
				const counts = Object.entries(answer.counts)
					.map(([action, count]) => `<b>${count}</b> ${actions[action] || esc(action)}`)
					.join(" · ");
				const more =
					answer.total > answer.rows.length
						? `<p class="text-muted">${__("The first {0} of {1} listings.", [answer.rows.length, answer.total])}</p>`
						: "";
				const rows = answer.rows.map((row) => [
					`<a href="/app/marketplace-listing/${encodeURIComponent(row.listing)}">${esc(row.seller_sku)}</a>`,
					esc(row.item),
					marketplace_sync.quantity(row.acknowledged),
					marketplace_sync.quantity(row.sellable),
					actions[row.action] || esc(row.action),
					esc(row.reason),
				]);
				const dialog = new frappe.ui.Dialog({
					title: __("Dry run: nothing has been sent"),
					size: "extra-large",
					fields: [{ fieldname: "answer", fieldtype: "HTML" }],
				});
				dialog.fields_dict.answer.$wrapper.html(
					`<p>${counts || __("The store has no listings yet: press Refresh Listings.")}</p>${more}` +
						marketplace_sync.table(
							[__("Seller SKU"), __("Item"), __("Acknowledged"), __("Sellable"), __("What"), __("Reason")],
							rows
						)
				);
				if (frm.doc.disable_stock_update && frm.perm[0].write && answer.total) {
					dialog.set_primary_action(__("Start Updating Stock"), () => {
						dialog.hide();
						frm.set_value("disable_stock_update", 0).then(() => frm.save());
					});
				}
				dialog.show();
			});
})();
