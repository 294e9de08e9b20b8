frappe.ui.form.on("Accounting Stock In", {
	refresh(frm) {
		const doc = frm.doc;
		frm.disable_save();
		frm.page.set_indicator(
			__(doc.state, null, "Accounting Stock In"),
			frappe.listview_settings["Accounting Stock In"].colour(doc.state)
		);
		frm.page.set_title(__("Stock of {0}", [frappe.datetime.str_to_user(doc.began_at)]));
		// Said at the top, and in the table.
		frm.toggle_display(["state", "reason", "items"], false);
		const told = doc.state === "Preview" ? [__("Nothing is booked yet: look at the differences, then press Book.")] : [];
		if (doc.reason) told.push(frappe.utils.escape_html(doc.reason));
		frm.layout.show_message(told.join(" "), "blue");
		show_differences(frm);
		frm.add_custom_button(
			__("Connection"),
			() => frappe.set_route("Form", "Accounting Connection", doc.connection),
			__("View", null, "Accounting Connection")
		);
		if (!frappe.model.can_write("Accounting Connection")) return;
		if (doc.state === "Preview") {
			frm.page.set_primary_action(__("Book", null, "Accounting Stock In"), () =>
				frappe.confirm(
					__("{0} differences become Stock Reconciliations. Go on?", [cint(doc.differences)]),
					() =>
						frappe
							.xcall("marketplace_sync.accounting_api.book_stock_in", { stock_in: doc.name })
							.then(() => {
								frappe.show_alert(__("The differences are being booked."));
								wait(frm);
							})
				)
			);
		}
		if (["Preview", "Reading", "Failed"].includes(doc.state))
			frm.add_custom_button(__("Discard", null, "Accounting Stock In"), () =>
				frappe
					.xcall("marketplace_sync.accounting_api.discard_stock_in", { stock_in: doc.name })
					.then(() => frm.reload_doc())
			);
		if (doc.state === "Reading") wait(frm);
	},
});

// The state changes in the background.
function wait(frm) {
	const { name, state } = frm.doc;
	const look = () =>
		frappe.get_route_str() === `Form/Accounting Stock In/${name}` &&
		frappe.db.get_value("Accounting Stock In", name, "state").then(({ message }) => {
			if (message.state !== state) frm.reload_doc();
			else setTimeout(look, 3000);
		});
	setTimeout(look, 1500);
}

function show_differences(frm) {
	const esc = (value) => frappe.utils.escape_html(String(value ?? ""));
	const quantity = (value) =>
		`<div class="text-right">${format_number(flt(value), null, Number.isInteger(flt(value)) ? 0 : 3)}</div>`;
	const SHOWN = 500;
	const colours = { Different: "orange", Booked: "green", "Left Out": "gray", Equal: "blue" };
	const order = { Different: 0, "Left Out": 1, Booked: 2, Equal: 3 };
	const all = (frm.doc.items || []).slice().sort((a, b) => order[a.state] - order[b.state]);
	const rows = all.slice(0, SHOWN).map((row) => [
		`<a href="${esc(frappe.utils.get_form_link("Item", row.item))}">${esc(row.item)}</a>`,
		esc(row.warehouse),
		quantity(row.service_qty),
		quantity(row.not_sent),
		`<b>${quantity(row.target_qty)}</b>`,
		quantity(row.actual_qty),
		`<b>${quantity(flt(row.target_qty) - flt(row.actual_qty))}</b>`,
		`<span class="indicator-pill text-nowrap ${colours[row.state] || "gray"}">${esc(
			__(row.state, null, "Accounting Stock In Item")
		)}</span>`,
		row.stock_reconciliation
			? `<a href="${esc(frappe.utils.get_form_link("Stock Reconciliation", row.stock_reconciliation))}">${esc(
					row.stock_reconciliation
			  )}</a>`
			: esc(row.reason),
	]);
	const right = (label) => `<div class="text-right">${label}</div>`;
	frm.fields_dict.differences_html.$wrapper.html(
		(all.length > SHOWN ? `<p class="text-muted">${__("The first {0} of {1}.", [SHOWN, all.length])}</p>` : "") +
			(rows.length
				? marketplace_sync.table(
						[
							__("Item"),
							__("Warehouse"),
							right(__("In the Service")),
							right(__("Not There Yet")),
							right(__("Shall Be")),
							right(__("In ERPNext")),
							right(__("Difference")),
							__("State", null, "Accounting Stock In"),
							__("Reason"),
						],
						rows
				  )
				: `<p class="text-muted">${__("No differences.")}</p>`)
	);
}
