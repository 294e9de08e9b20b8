frappe.ui.form.on("Marketplace Order", {
	refresh(frm) {
		const doc = frm.doc;
		frm.disable_save();
		// Said at the top, with what to do.
		for (const name of ["state", "reason", "note", "sb_documents"]) frm.toggle_display(name, false);
		frm.page.set_indicator(__(doc.state), marketplace_sync.order_colour(doc.state));
		frm.fields_dict.status.df.formatter = marketplace_sync.order_status;
		frm.refresh_field("status");
		frm.toggle_display("total", flt(doc.total) || doc.state === "Up to Date"); // 0: not told yet
		frm.add_custom_button(__("Retry"), () => retry(frm));
		frm.add_custom_button(__("Fetch Again"), () => fetch_again(frm));
		frm.add_custom_button(
			__("Store"),
			() => frappe.set_route("Form", "Customer Marketplace Settings", doc.store),
			__("View")
		);
		frm.add_custom_button(
			__("Orders of This Store"),
			() => frappe.set_route("List", "Marketplace Order", { store: doc.store }),
			__("View")
		);
		for (const name of ["state_html", "amounts_html", "timeline_html"]) frm.fields_dict[name].$wrapper.empty();
		frappe.xcall("marketplace_sync.api.order_details", { order: doc.name }).then((details) => {
			if (frm.doc.name !== doc.name) return;
			show_state(frm, details);
			show_amounts(frm, details.amounts);
			show_timeline(frm, details.events);
		});
	},
});

const esc = (value) => frappe.utils.escape_html(String(value ?? ""));

function retry(frm) {
	frappe
		.xcall("marketplace_sync.api.retry_orders", { orders: [frm.doc.name] })
		.then((answer) => {
			const message = answer.reason ? `${__(answer.state)}: ${esc(answer.reason)}` : __(answer.state);
			frappe.show_alert({ message, indicator: marketplace_sync.order_colour(answer.state) }, 10);
		})
		.finally(() => frm.reload_doc());
}

function release(frm) {
	frappe.confirm(__("Nothing is held for this order any more, so others may buy its items. Go on?"), () =>
		frappe
			.xcall("marketplace_sync.api.release_order", { order: frm.doc.name })
			.finally(() => frm.reload_doc())
	);
}

function fetch_again(frm) {
	const before = frm.doc.modified;
	frappe.xcall("marketplace_sync.api.fetch_order", { order: frm.doc.name }).then(() => {
		frappe.show_alert(__("The order is being fetched from the marketplace."));
		// What comes, if it says anything new, is in the form within seconds.
		let left = 10;
		const look = () =>
			frappe.db.get_value("Marketplace Order", frm.doc.name, "modified").then(({ message }) => {
				const here = frappe.get_route_str() === `Form/Marketplace Order/${frm.doc.name}`;
				if (message.modified !== before || !(left -= 1)) here && frm.reload_doc();
				else if (here) setTimeout(look, 2000);
			});
		setTimeout(look, 1000);
	});
}

// -- what state it is in, what is wrong, what to do next -------------------------------------------------------
function show_state(frm, details) {
	const doc = frm.doc;
	const status = `<b>${esc(marketplace_sync.order_status(doc.status))}</b>`;
	const documents = details.documents.filter((one) => one.docstatus !== 2);
	const held = details.held
		.map((one) => `${esc(format_number(one.qty, null, Number.isInteger(one.qty) ? 0 : 3))} × ${esc(one.item_code)}`)
		.join(", ");
	let headline;
	if (doc.state === "Needs Attention") {
		headline = `<b>${__("This order needs you:")}</b> ${lines_of(details.reason || __("The reason is not known yet."))}`;
	} else if (doc.state === "Waiting") {
		headline = details.imports
			? __("The marketplace says {0}. It is booked by itself in a moment.", [status])
			: __("The marketplace said {0}. Import Orders is not ticked in its store any more.", [status]);
		if (details.reason) headline += `<br>${lines_of(details.reason)}`;
	} else if (doc.status === "Cancelled" && !documents.length && !held) {
		headline = __("Cancelled on the marketplace: nothing of it is booked, and nothing is held.");
	} else if (documents.length) {
		headline = __("All is booked that the store's Status Table asks for at {0}.", [status]);
	} else {
		headline = __("Nothing is booked: the store's Status Table asks for nothing at {0}.", [status]);
	}
	if (doc.state === "Up to Date" && details.reason) headline += `<br>${lines_of(details.reason)}`;
	// What the table leaves as a draft is booked as it asks; the books have it once a person submits it.
	const drafts = doc.state === "Up to Date" ? documents.filter((one) => one.docstatus === 0) : [];
	if (drafts.length)
		headline = `<b>${__("Check and submit: {0}", [drafts.map(document_link).join(", ")])}</b><br>${headline}`;
	const facts = [];
	if (held) facts.push(__("Held for it, so that nobody else buys it: {0}", [held]));
	if (held && !details.imports)
		facts.push(
			__(
				"Import Orders is not ticked in its store: what becomes of this order is not told here. Press Fetch Again to ask once; or Release when it is over, or was booked by hand."
			)
		);
	const came_back = doc.has_left && ["Cancelled", "Returned"].includes(doc.status);
	const for_a_manager = details.cures.filter((cure) => !cure.may).map(cure_label);
	if (held && (came_back || !details.imports)) {
		if (details.may_release) frm.add_custom_button(__("Release"), () => release(frm));
		else for_a_manager.push(__("Release"));
	}
	if (for_a_manager.length) facts.push(__("Ask a Marketplace Manager: {0}", [for_a_manager.join(", ")]));
	if (details.note) facts.push(`${__("Note of the Marketplace")}: ${esc(details.note)}`);
	if (doc.state !== "Up to Date" && doc.attempts && doc.due_at > 0)
		facts.push(__("Tried again by itself at {0}", [marketplace_sync.time(doc.due_at)]));
	const kinds = { "Needs Attention": "warning", Waiting: "info", "Up to Date": "success" };
	const rows = details.documents.map((one) => document_line(one)).join("");
	const problems = details.problems
		.map((one) => `<li>${__("Row {0}", [cint(one.row)])}: ${esc(one.problem)}</li>`)
		.join("");
	const wrapper = frm.fields_dict.state_html.$wrapper;
	wrapper.html(`
		<div class="alert alert-${drafts.length ? "warning" : kinds[doc.state] || "info"} mb-2">
			<div>${headline}</div>
			${problems && doc.state === "Needs Attention" ? `<ul class="mb-0">${problems}</ul>` : ""}
			<div class="order-cures mt-2"></div>
			${facts.map((fact) => `<div class="small mt-1">${fact}</div>`).join("")}
		</div>
		${rows ? `<div class="mb-3">${rows}</div>` : ""}`);
	const cures = wrapper.find(".order-cures");
	const mine = details.cures.filter((cure) => cure.may);
	for (const cure of mine) {
		$(`<button class="btn btn-default btn-xs mr-2 mb-1">${cure_label(cure)}</button>`)
			.appendTo(cures)
			.on("click", () => go(cure.route));
	}
	if (!mine.length) cures.remove();
}

// A reason may be about several lines of the order: one below the other.
const lines_of = (text) => esc(text).replace(/\n/g, "<br>");

function document_link(one) {
	const labels = {
		sales_order: __("Sales Order"),
		sales_invoice: __("Sales Invoice"),
		payment_entry: __("Payment Entry"),
		credit_note: __("Credit Note"),
	};
	const link = frappe.utils.get_form_link(one.doctype, one.name);
	return `${labels[one.what]} <a href="${esc(link)}">${esc(one.name)}</a>`;
}

function document_line(one) {
	const colour = { 0: "red", 1: "green", 2: "gray" }[one.docstatus] || "gray";
	const status = one.docstatus === 0 ? __("Draft") : one.docstatus === 2 ? __("Cancelled") : __(one.status);
	const pill = one.status ? `<span class="indicator-pill ${colour} ml-1">${esc(status)}</span>` : "";
	return `<span class="mr-4" style="white-space: nowrap">${document_link(one)}${pill}</span>`;
}

function cure_label(cure) {
	const what = esc(cure.what);
	return {
		map: __("Map {0} to an Item", [what]),
		listings: __("Open the Store's Listings"),
		create: __("Create the Item {0}", [what]),
		item: __("Open the Item {0}", [what]),
		submit: __("Open {0} and Submit It", [what]),
		accounts: __("Open the Store's Accounts"),
	}[cure.do];
}

function go([view, doctype, name]) {
	if (view === "new") frappe.new_doc(doctype, name);
	else frappe.set_route(view, doctype, name);
}

// -- money -----------------------------------------------------------------------------------------------------
function show_amounts(frm, amounts) {
	const money = (value) =>
		value === null || value === undefined
			? "–"
			: `<div class="text-right text-nowrap">${esc(format_currency(value, frm.doc.currency))}</div>`;
	const rows = amounts.lines.map((line) => [
		`${esc(line.sku || __("no SKU"))} <span class="text-muted">${esc(line.title)}</span>`,
		`${cint(line.quantity)} × ${esc(format_currency(line.price, frm.doc.currency))}`,
		money(line.amount),
	]);
	let sum = amounts.lines.reduce((total, line) => total + flt(line.amount), 0);
	for (const one of amounts.rows) {
		if (one.counts) sum += flt(one.amount);
		const remark = one.counts ? "" : ` <span class="text-muted">${__("(the platform pays it: not part of the total)")}</span>`;
		rows.push([
			`${__(one.kind)}${remark}`,
			`<span class="text-muted">${esc(one.name)}</span>`,
			one.counts ? money(one.amount) : `<span class="text-muted">${money(one.amount)}</span>`,
		]);
	}
	rows.push([`<b>${__("Items, Discounts and Charges")}</b>`, "", `<b>${money(sum)}</b>`]);
	rows.push([`<b>${__("Total by the Marketplace")}</b>`, "", `<b>${money(amounts.total)}</b>`]);
	const told = amounts.total !== null && amounts.total !== undefined;
	const differs = told && Math.abs(amounts.total - sum) >= 0.005;
	if (differs)
		rows.push([`<b class="text-danger">${__("Difference")}</b>`, "", `<b class="text-danger">${money(amounts.total - sum)}</b>`]);
	frm.fields_dict.amounts_html.$wrapper.html(
		marketplace_sync.table([__("What"), "", `<div class="text-right">${__("Amount", null, "Marketplace Order")}</div>`], rows) +
			(told ? "" : `<p class="text-muted small">${__("The marketplace has not told the order's amounts yet.")}</p>`)
	);
}

// -- timeline: newest last ---------------------------------------------------------------------------------------
function show_timeline(frm, events) {
	const who = (source) =>
		({
			push: __("Marketplace (push)"),
			poll: __("Marketplace (read)"),
			look: __("Marketplace (read)"),
			booking: __("ERPNext"),
		}[source] || esc(frappe.user_info(source).fullname || source));
	const said = (event) => {
		if (cint(event.to_fetch) && event.source === "push") return __("told of a change; the order is being fetched");
		return (
			{
				retry: __("asked to book it again"),
				release: __("released what was held for it"),
				"fetch again": __("asked to fetch it from the marketplace"),
				changed: __("something of it changed"),
			}[event.summary] || lines_of(event.summary)
		);
	};
	const rows = events.map((event) => [
		`<span style="white-space: nowrap">${marketplace_sync.time(event.at)}</span>`,
		who(event.source),
		esc(event.status),
		said(event),
	]);
	frm.fields_dict.timeline_html.$wrapper.html(
		rows.length
			? marketplace_sync.table([__("At"), __("Who"), __("Status There"), __("What")], rows)
			: `<p class="text-muted">${__("Its timeline has been pruned.")}</p>`
	);
}
