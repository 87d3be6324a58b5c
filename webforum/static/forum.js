// What script adds: keys, news of new articles, quoting a selection, drafts in the
// browser, files by drag. Every page does without it.
(() => {
  "use strict";
  const $ = (s, e = document) => e.querySelector(s);
  const all = (s) => [...document.querySelectorAll(s)];

  // Keys, as in DFeed. Never while a field is filled in, never with a modifier.
  const items = () => all(".post:not(.ghost), .threads > li, .groups > li, .index > li, .hits > li");
  let at = -1;
  const go = (i) => {
    const list = items();
    if (!list.length) return;
    if (list[at]) list[at].classList.remove("cur");
    at = Math.max(0, Math.min(list.length - 1, i));
    const e = list[at];
    e.classList.add("cur");
    e.scrollIntoView({ block: "nearest" });
    if (e.getBoundingClientRect().height > innerHeight) e.scrollIntoView();
    const a = $("a.t, .when, a", e);
    if (a) a.focus({ preventScroll: true });
  };
  const unread = (step) => {
    const list = items();
    for (let i = at + step; i >= 0 && i < list.length; i += step)
      if (list[i].classList.contains("unread") || $(".new", list[i])) return go(i);
    const next = $(step > 0 ? "[rel=next]" : "[rel=prev]");
    if (next) location = next.href;
  };
  const click = (s) => {
    const cur = items()[at];
    const a = (cur && $(s, cur)) || $(s);
    if (a) a.click();
    return !!a;
  };
  const keys = {
    j: () => go(at + 1),
    k: () => go(at - 1),
    n: () => unread(1),
    p: () => click("[data-key=p]") || unread(-1),
    o: () => click("a.t, .when"),
    u: () => click("[data-key=u]") || (all(".crumbs a").pop() || { click() {} }).click(),
    r: () => click("[data-key=r]"),
    c: () => click("[data-key=c]"),
    "]": () => click("[rel=next]"),
    "[": () => click("[rel=prev]"),
    "/": () => $("#q") && $("#q").focus(),
    "?": () => (location = "/help"),
  };
  addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.altKey || e.metaKey || e.isComposing) return;
    if (/^(INPUT|TEXTAREA|SELECT|AUDIO|VIDEO)$/.test(e.target.tagName) || e.target.isContentEditable) {
      if (e.key === "Escape") e.target.blur();
      return;
    }
    const f = keys[e.key];
    if (f) {
      e.preventDefault();
      f();
    }
  });

  // Quoting a selection: it goes along to the form, which puts it in.
  addEventListener("click", (e) => {
    const a = e.target.closest && e.target.closest('a[href$="/reply"]');
    const text = String(getSelection()).trim();
    if (a && text) try { sessionStorage.setItem("quote", JSON.stringify([a.pathname, text])); } catch (_) {}
  });
  const form = $("form.write[enctype]");
  const box = form && form.body;
  if (box) {
    try {
      const q = JSON.parse(sessionStorage.getItem("quote") || "null");
      sessionStorage.removeItem("quote");
      if (q && q[0] === location.pathname)
        box.value = box.value.split("\n")[0] + "\n" + q[1].split("\n").map((l) => "> " + l).join("\n") + "\n\n";
    } catch (_) {}
    // A draft stays in this browser until the article is sent.
    const key = "draft " + form.action;
    const start = box.value;
    try {
      const old = localStorage.getItem(key);
      if (old && old !== start && !$(".preview") && !$(".bad")) box.value = old;
      box.addEventListener("input", () => localStorage.setItem(key, box.value));
      form.addEventListener("submit", (e) => {
        if (!e.submitter || e.submitter.name !== "preview") localStorage.removeItem(key);
      });
    } catch (_) {}
    box.addEventListener("keydown", (e) => {
      if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) form.requestSubmit();
    });
    // Files by drag and by paste.
    const take = (files) => {
      if (!files.length) return;
      const d = new DataTransfer();
      for (const f of [...form.file.files, ...files]) d.items.add(f);
      form.file.files = d.files;
    };
    for (const t of ["dragover", "dragleave", "drop"])
      form.addEventListener(t, (e) => {
        if (!e.dataTransfer.types.includes("Files")) return;
        e.preventDefault();
        form.classList.toggle("drop", t === "dragover");
        if (t === "drop") take(e.dataTransfer.files);
      });
    box.addEventListener("paste", (e) => take(e.clipboardData.files));
    if (/\/reply$/.test(form.action) && !$(".bad")) {
      box.focus();
      box.setSelectionRange(box.value.length, box.value.length);
    }
  }

  // News of new articles: one connection, closed while the page is hidden.
  const want = document.body.dataset.live;
  if (want && window.EventSource) {
    let n = 0;
    let source;
    const bar = document.createElement("button");
    bar.className = "button live";
    bar.type = "button";
    bar.onclick = () => location.reload();
    const open = () => {
      source = new EventSource("/events?" + (want === "all" ? want : want[0] + "=" + encodeURIComponent(want.slice(2))));
      source.onmessage = () => {
        const d = document.body.dataset;
        bar.textContent = ++n === 1 ? d.newOne : d.newOther.replace("0", n);
        if (!bar.isConnected) {
          bar.setAttribute("aria-live", "polite");
          $("main").append(bar);
        }
      };
    };
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) source.close();
      else if (source.readyState === 2) open();
    });
    open();
  }
})();
