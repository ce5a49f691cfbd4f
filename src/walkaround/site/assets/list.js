// The list of sequences: search, filter, sort, pages of cards. The data come as walkaroundList({...}).
"use strict";
(() => {
  const PAGE = 48;
  const form = document.querySelector(".filters");
  const found = document.querySelector(".found");
  const cards = document.querySelector(".cards");
  const pager = document.querySelector(".pager");
  const inputs = Object.fromEntries([...form.querySelectorAll("[data-by]")].map((field) => [field.dataset.by, field]));
  let data = null;
  let matching = [];
  let page = 0;

  window.walkaroundList = (value) => {
    data = value;
    data.texts = data.rows.map((row) =>
      [data.classes[row[0]], row[1], data.decisions[row[9]], ...row[3].map((code) => data.reasons[code])].join(" ").toLowerCase());
    offer("class", data.classes, (row) => [row[0]]);
    offer("status", data.statuses, (row) => [row[2]]);
    offer("decision", data.decisions.map((name) => name || "none"), (row) => [row[9]]);
    offer("reason", data.reasons, (row) => row[3]);
    offer("split", data.splits.map((name) => name || "none"), (row) => [row[5]]);
    data.scores.forEach((name, place) => {
      inputs.sort.add(new Option(`${name}, least first`, `${place} 1`));
      inputs.sort.add(new Option(`${name}, most first`, `${place} -1`));
    });
    restore();
    window.addEventListener("hashchange", restore);
    form.addEventListener("input", () => { page = 0; update(); remember(); });
    pager.addEventListener("click", (event) => {
      const step = Number(event.target.dataset?.step || 0);
      if (!step) return;
      page += step;
      show();
      remember();
      form.scrollIntoView({ block: "start" });
    });
    document.addEventListener("keydown", (event) => {
      if (event.key !== "/" || event.ctrlKey || event.metaKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
      event.preventDefault();
      inputs.text.focus();
    });
  };

  function offer(by, names, placesOf) {
    const select = inputs[by];
    if (!select) return;
    const counts = new Array(names.length).fill(0);
    for (const row of data.rows) for (const place of placesOf(row)) counts[place] += 1;
    const order = counts.map((count, place) => place).filter((place) => counts[place]);
    if (by === "reason") order.sort((a, b) => counts[b] - counts[a]);
    for (const place of order) select.add(new Option(`${names[place]} (${counts[place].toLocaleString("en")})`, place));
    select.parentElement.hidden = order.length < (by === "reason" ? 1 : 2);
  }

  function restore() {
    const state = new URLSearchParams(location.hash.slice(1));
    for (const [by, field] of Object.entries(inputs)) {
      field.value = state.get(by) ?? "";
      if (field.selectedIndex === -1) field.selectedIndex = 0;
    }
    page = Math.max(0, Number(state.get("page") || 1) - 1 || 0);
    update();
  }

  function remember() {
    const state = new URLSearchParams();
    for (const [by, field] of Object.entries(inputs)) if (field.value) state.set(by, field.value);
    if (page) state.set("page", page + 1);
    history.replaceState(null, "", `#${state}`);
  }

  function update() {
    const words = inputs.text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const [label, status, decision, reason, split] = ["class", "status", "decision", "reason", "split"].map((by) => inputs[by]?.value ?? "");
    matching = [];
    data.rows.forEach((row, place) => {
      if ((label === "" || row[0] === +label) && (status === "" || row[2] === +status) && (decision === "" || row[9] === +decision) && (split === "" || row[5] === +split)
        && (reason === "" || row[3].includes(+reason)) && words.every((word) => data.texts[place].includes(word))) matching.push(place);
    });
    if (inputs.sort.value) {
      const [score, sign] = inputs.sort.value.split(" ").map(Number);
      const value = (place) => data.rows[place][8][score];
      matching.sort((a, b) => (value(a) === null) - (value(b) === null) || sign * (value(a) - value(b)) || a - b);
    }
    show();
  }

  function show() {
    const pages = Math.max(1, Math.ceil(matching.length / PAGE));
    page = Math.min(Math.max(page, 0), pages - 1);
    const all = data.rows.length;
    found.textContent = matching.length === all ? `${all.toLocaleString("en")} sequences`
      : `${matching.length.toLocaleString("en")} of ${all.toLocaleString("en")} sequences`;
    cards.replaceChildren(...matching.slice(page * PAGE, (page + 1) * PAGE).map(card));
    pager.hidden = pages === 1;
    pager.querySelector("span").textContent = `${page + 1} of ${pages}`;
    pager.querySelector('[data-step="-1"]').disabled = page === 0;
    pager.querySelector('[data-step="1"]').disabled = page === pages - 1;
  }

  function card(place) {
    const [label, id, status, reasons, state, , registered, frames, scores, decision] = data.rows[place];
    const name = /^index(\.html)?$/i.test(id) ? `_${id}` : id; // as folder_name has it
    const folder = `${data.base}${encodeURIComponent(data.classes[label])}/${encodeURIComponent(name)}/`;
    const item = make("li", "");
    const link = item.appendChild(make(state ? "a" : "div", "card"));
    if (state) link.href = `${folder}index.html`;
    const picture = link.appendChild(make(state === 2 ? "img" : "div", state === 2 ? "" : "empty"));
    if (state === 2) Object.assign(picture, { src: `${folder}thumb.jpg`, alt: "", width: 224, height: 224, loading: "lazy", decoding: "async" });
    else picture.textContent = state ? "no picture" : "unreadable";
    const title = link.appendChild(make("span", "name"));
    title.append(make("b", "", data.classes[label]), make("i", `dot ${data.statuses[status]}`), make("small", "", data.statuses[status]));
    link.append(make("code", "", id), make("span", "note", reasons.length ? reasons.map((code) => data.reasons[code]).join(", ") : `${registered} of ${frames} frames`));
    if (decision) link.append(make("span", "note", data.decisions[decision]));
    const [score] = inputs.sort.value.split(" ");
    if (score) link.append(make("span", "note", `${data.scores[score]}: ${scores[score] ?? "none"}`));
    return item;
  }

  function make(tag, kind, text) {
    const element = document.createElement(tag);
    if (kind) element.className = kind;
    if (text !== undefined) element.textContent = text;
    return element;
  }
})();
