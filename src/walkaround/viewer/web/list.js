// The list of a dataset: filters, thumbnails, next and previous, decisions.
const $ = (id) => document.getElementById(id);
const TYPING = new Set(["INPUT", "SELECT", "TEXTAREA"]);

export function isTyping({ target, ctrlKey, metaKey, altKey }) {
  return ctrlKey || metaKey || altKey || (TYPING.has(target.tagName) && !["checkbox", "range"].includes(target.type));
}

export class List {
  constructor({ ask, tell, say, onOpen, onCompare }) {
    Object.assign(this, { ask, tell, say, onOpen, onCompare });
    this.rows = [];
    this.current = null;
    this.generation = 0;
    let timer = 0;
    $("filters").addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => this.reload(), 150);
    });
    $("filters").addEventListener("change", ({ target }) => target.tagName === "SELECT" && target.blur());
    for (const id of ["filters", "review"]) $(id).addEventListener("submit", (event) => event.preventDefault());
    $("review").addEventListener("click", (event) => {
      const { decision } = event.target.dataset;
      if (decision) this.decide(decision);
    });
    $("rows").addEventListener("scroll", () => {
      const rows = $("rows");
      if (rows.scrollTop + rows.clientHeight > rows.scrollHeight - 400) this.more();
    });
  }

  async begin(choices) {
    $("list").hidden = false;
    const fill = (name, options) => $("filters").elements[name].append(...options);
    fill("class_label", choices.classes.map(([label, name, count]) => new Option(`${name} (${count})`, label)));
    for (const [name, values] of [["status", choices.statuses], ["reason", choices.reasons], ["score", choices.scores]]) {
      fill(name, values.map((value) => new Option(value, value)));
    }
    $("classes").replaceChildren(...choices.classes.map(([label]) => new Option(label, label)));
    await this.reload();
    if (this.rows.length) await this.open(0);
  }

  async reload() {
    const generation = ++this.generation;
    this.query = Object.fromEntries([...new FormData($("filters"))].filter(([, value]) => value));
    try {
      const page = await this.ask("/api/list", this.query);
      if (generation !== this.generation) return;
      this.total = page.total;
      this.rows = [];
      $("rows").replaceChildren();
      this.add(page.rows);
      const any = Object.keys(this.query).some((name) => name !== "order");
      const none = any ? "no sequence fits the filters" : "no sequences yet";
      const count = `${page.total.toLocaleString()} ${page.total === 1 ? "sequence" : "sequences"}`;
      $("count").textContent = page.total ? count : none;
      this.say("");
    } catch (error) {
      this.say(error.message);
    }
  }

  async more() {
    if (this.loading || this.rows.length >= this.total) return;
    this.loading = true;
    const generation = this.generation;
    try {
      const page = await this.ask("/api/list", { ...this.query, offset: this.rows.length });
      if (generation === this.generation) this.add(page.rows);
    } catch (error) {
      this.say(error.message);
    } finally {
      this.loading = false;
    }
  }

  add(rows) {
    for (const row of rows) {
      const item = document.createElement("li");
      const button = document.createElement("button");
      button.type = "button";
      item.append(button);
      const number = this.rows.push({ ...row, item }) - 1;
      button.addEventListener("click", () => this.open(number));
      this.write(number);
      $("rows").append(item);
    }
  }

  write(number) {
    const row = this.rows[number];
    const image = new Image();
    image.loading = "lazy";
    image.alt = "";
    image.src = `/api/thumbnail?${new URLSearchParams({ key: row.key })}`;
    const text = document.createElement("span");
    const line = (content, kind) => {
      const made = document.createElement("span");
      made.textContent = content;
      made.className = kind;
      text.append(made);
    };
    line(row.class_name, "class");
    line(row.instance_id, "id");
    if (row.status) line(row.status + (row.reasons.length ? `: ${row.reasons.join(", ")}` : ""), row.status);
    if (row.score != null) line(`${$("filters").elements.score.value} ${Number(row.score.toPrecision(4))}`, "score");
    if (row.decision) line(said(row), `decision ${row.decision}`);
    row.item.firstChild.replaceChildren(image, text);
    row.item.classList.toggle("current", row.key === this.current);
  }

  async open(number) {
    const row = this.rows[number];
    if (!row) return;
    const before = this.rows.find((other) => other.key === this.current);
    this.current = row.key;
    before?.item.classList.remove("current");
    row.item.classList.add("current");
    row.item.scrollIntoView({ block: "nearest" });
    this.describe(row);
    try {
      const scene = await this.tell("/api/open", { key: row.key });
      if (scene.key === this.current) this.onOpen(scene);
    } catch (error) {
      this.say(error.message);
    }
  }

  describe(row) {
    const form = $("review").elements;
    form.note.value = row.note ?? "";
    form.label.value = row.label ?? "";
    const found = row.built_status ? `; the build found: ${row.built_status}` : "";
    $("decided").textContent = (row.decision ? `${said(row)}, ${row.time}` : "not decided yet") + found;
  }

  async step(by) {
    const at = this.rows.findIndex((row) => row.key === this.current) + by;
    if (at >= this.rows.length) await this.more();
    if (at >= 0 && at < this.rows.length) await this.open(at);
  }

  async decide(decision) {
    const number = this.rows.findIndex((row) => row.key === this.current);
    if (number < 0) return;
    const { note, label } = $("review").elements;
    const body = { key: this.current, decision, note: note.value };
    if (decision === "relabel") body.label = label.value;
    try {
      const counting = await this.tell("/api/review", body);
      for (const name of ["status", "decision", "label", "note", "time"]) this.rows[number][name] = counting[name];
      this.write(number);
      this.describe(this.rows[number]);
      this.say("");
      document.activeElement?.blur();
    } catch (error) {
      this.say(error.message);
    }
  }

  // Do what a key stands for; say whether it stands for something here.
  key(event) {
    if ($("list").hidden) return false;
    if (event.key === "Escape") event.target.blur?.();
    if (isTyping(event)) return false;
    const actions = {
      n: () => this.step(1),
      p: () => this.step(-1),
      a: () => this.decide("accept"),
      r: () => this.decide("reject"),
      u: () => this.decide("undo"),
      c: () => this.current && this.onCompare(this.current),
      l: () => $("review").elements.label.focus(),
      "/": () => $("filters").elements.text.focus(),
    };
    const action = actions[event.key.toLowerCase()];
    if (!action) return false;
    event.preventDefault();
    action();
    return true;
  }
}

function said(row) {
  const words = { accept: "accepted by hand", reject: "rejected by hand", relabel: `should be ${row.label}` };
  return words[row.decision] + (row.note ? ` (${row.note})` : "");
}
