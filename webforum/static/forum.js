// What script adds: keys, live threads, quoting a selection, drafts kept while one
// types, files by drag, progress of uploads. Every page does without it.
(() => {
  "use strict";
  const $ = (s, e = document) => e.querySelector(s);
  const all = (s, e = document) => [...e.querySelectorAll(s)];
  const html = (text) => new DOMParser().parseFromString(text, "text/html");
  const store = (area, key, value) => {
    try {
      if (value === undefined) return area().getItem(key);
      value === null ? area().removeItem(key) : area().setItem(key, value);
    } catch (_) {}
    return null;
  };
  const session = () => sessionStorage;
  const local = () => localStorage;
  const say = document.body.dataset;

  // Keys: those of DFeed, and n and p. Never while a field is filled in.
  const items = () => all(".posts > .post:not(.ghost), main > .post, .threads > li, .groups > li, .index > li, .hits > li");
  let at = -1;
  const go = (i) => {
    const list = items();
    if (!list.length) return false;
    if (list[at]) list[at].classList.remove("cur");
    at = Math.max(0, Math.min(list.length - 1, i));
    const e = list[at];
    e.classList.add("cur");
    e.scrollIntoView({ block: "nearest" });
    if (e.getBoundingClientRect().height > innerHeight) e.scrollIntoView();
    const a = $("a.t, .when, summary, a", e);
    if (a) a.focus({ preventScroll: true });
    return true;
  };
  const isNew = (e) => e.classList.contains("unread") || !!$(".new", e);
  const turn = (way) => {
    const a = $(`[rel=${way}]`);
    if (a) location = a.href;
    return !!a;
  };
  const unread = (step) => {
    const list = items();
    for (let i = at + step; i >= 0 && i < list.length; i += step) if (isNew(list[i])) return go(i);
    return turn(step > 0 ? "next" : "prev");
  };
  const click = (s) => {
    const cur = items()[at];
    const a = (cur && $(s, cur)) || $(s);
    if (a) a.click();
    return !!a;
  };
  const open = () => click("a.t, .when, .index a");
  const up = () => click("[data-key=u]") || (all(".crumbs a").pop() || { click() {} }).click();
  const markUnread = () => {
    const cur = items()[at];
    const a = cur && $("a.when", cur);
    if (!a) return click("[data-key=unread]");
    fetch(a.pathname + "/unread", { method: "POST", redirect: "manual" }).then(() => cur.classList.add("unread"));
    return true;
  };
  const link = (n) => {
    const cur = items()[at];
    const a = cur && all(".body a[href]", cur)[n - 1];
    if (a) a.click();
    return !!a;
  };
  const help = async () => {
    let d = $("dialog.help");
    if (!d) {
      const page = html(await (await fetch("/help")).text());
      d = document.createElement("dialog");
      d.className = "help";
      const title = $("h2", page);
      const close = document.createElement("button");
      close.type = "button";
      close.textContent = "×";
      close.setAttribute("aria-label", say.close);
      close.onclick = () => d.close();
      d.setAttribute("aria-label", title.textContent);
      d.append(close, title, $("dl.keys", page));
      d.addEventListener("click", (e) => e.target === d && d.close());
      document.body.append(d);
    }
    d.showModal();
  };
  const keys = {
    j: () => go(at + 1),
    k: () => go(at - 1),
    J: () => go(at + 1) && open(),
    K: () => go(at - 1) && open(),
    n: () => unread(1),
    p: () => click("[data-key=p]") || unread(-1),
    o: open,
    b: up,
    u: markUnread,
    r: () => click("[data-key=r]"),
    c: () => click("[data-key=c]"),
    w: () => click("[data-key=w]"),
    h: () => turn("prev"),
    l: () => turn("next"),
    "[": () => turn("prev"),
    "]": () => turn("next"),
    "/": () => $("#q") && $("#q").focus(),
    "?": help,
  };
  const held = { ArrowDown: keys.j, ArrowUp: keys.k, ArrowLeft: keys.h, ArrowRight: keys.l };
  addEventListener("keydown", (e) => {
    if (e.altKey || e.metaKey || e.isComposing || $("dialog[open]")) return;
    if (/^(INPUT|TEXTAREA|SELECT|AUDIO|VIDEO)$/.test(e.target.tagName) || e.target.isContentEditable) {
      if (e.key === "Escape") e.target.blur();
      return;
    }
    let f = e.ctrlKey ? held[e.key] : keys[e.key];
    if (!e.ctrlKey && /^[1-9]$/.test(e.key)) f = () => link(+e.key);
    if (e.key === " " && !e.ctrlKey && !e.shiftKey && !/^(BUTTON|SUMMARY|A)$/.test(e.target.tagName) && innerHeight + scrollY >= document.documentElement.scrollHeight - 2) f = keys.n;
    if (f) {
      e.preventDefault();
      f();
    }
  });

  // Quoting a selection: it goes along to the form, which puts it in.
  addEventListener("click", (e) => {
    const a = e.target.closest && e.target.closest('a[href$="/reply"]');
    const text = String(getSelection()).trim();
    if (a && text) store(session, "quote", JSON.stringify([a.pathname, text]));
  });

  // Sending with progress. What went wrong is said above the form, which stays as it
  // is, files too.
  const make = (tag, props, ...inside) => {
    const e = Object.assign(document.createElement(tag), props);
    e.append(...inside);
    return e;
  };
  const fill = (text, ...words) => words.reduce((t, w) => t.replace("%s", w), text);
  const size = (n) => {
    const units = ["B", "KiB", "MiB", "GiB"];
    let u = 0;
    for (; n >= 1024 && u < 3; u++) n /= 1024;
    return n.toLocaleString(document.documentElement.lang, { maximumFractionDigits: u && n < 100 ? 1 : 0 }) + "\u00a0" + units[u];
  };
  const clean = (form) => all(".notice", form.parentNode).forEach((n) => n.closest("form") || n.remove());
  const notice = (form, text, bad) => {
    clean(form);
    const p = make("p", { className: "notice" + (bad ? " bad" : ""), textContent: text });
    p.setAttribute("role", bad ? "alert" : "status");
    form.before(p);
    p.scrollIntoView({ block: "nearest" });
  };
  const complain = (form, page) => {
    clean(form);
    const found = all("[role=alert], .hints", page);
    for (const n of found.length ? found : all("main .empty, main > p", page)) form.before(document.adoptNode(n));
    for (const name of ["captcha", "hinted"]) {
      const now = $(`input[name=${name}]`, page);
      const old = $(`input[name=${name}]`, form);
      if (now && old) old.value = now.value;
      else if (now) form.append(document.adoptNode(now));
    }
    const q = $("label[for=answer]", page);
    if (q && $("label[for=answer]", form)) {
      $("label[for=answer]", form).textContent = q.textContent;
      form.answer.value = ""; // it was for the sum before
      if ($("#answer[aria-invalid]", page)) form.answer.focus({ preventScroll: true });
    }
    const n = form.previousElementSibling;
    if (n) n.scrollIntoView({ block: "nearest" });
  };
  const send = (form, done) => {
    const x = new XMLHttpRequest();
    const buttons = all("button", form);
    const bar = make("progress");
    const word = make("span", { className: "dim" });
    const stop = make("button", { type: "button", textContent: form.dataset.stop, onclick: () => x.abort() });
    const box = make("div", { className: "upload" }, bar, word, stop);
    const end = () => {
      buttons.forEach((b) => (b.disabled = false));
      box.remove();
    };
    x.open("POST", form.action);
    x.upload.onprogress = (e) => {
      if (!e.lengthComputable || e.total < 100000 || !form.dataset.upload) return;
      bar.max = e.total;
      bar.value = e.loaded;
      word.textContent = fill(form.dataset.upload, size(e.loaded), size(e.total));
      bar.setAttribute("aria-label", word.textContent);
      if (!box.isConnected) form.append(box);
    };
    x.upload.onload = () => (stop.hidden = true); // all is there: what becomes of it is the node's to say
    x.onload = () => {
      end();
      if (x.status >= 200 && x.status < 300 && x.responseURL !== form.action) return done(x.responseURL);
      const page = html(x.responseText);
      if (x.status >= 200 && x.status < 300 && !$("form.write[enctype]", page)) return done("", page);
      complain(form, page);
    };
    x.onabort = () => {
      end();
      notice(form, form.dataset.stopped);
    };
    x.onerror = () => {
      end();
      notice(form, say.offline, true);
    };
    x.send(new FormData(form));
    buttons.forEach((b) => (b.disabled = true));
  };

  const form = $("form.write[enctype]");
  const box = form && form.body;
  if (box) {
    const quote = JSON.parse(store(session, "quote") || "null");
    store(session, "quote", null);
    if (quote && quote[0] === location.pathname)
      box.value = box.value.split("\n")[0] + "\n" + quote[1].split("\n").map((l) => "> " + l).join("\n") + "\n\n";
    // A draft: at the node for members, and in this browser until one of them has it.
    const key = "draft " + form.action;
    const kept = $("#kept");
    const start = box.value;
    const old = store(local, key);
    if (old && old !== start && !("kept" in form.dataset) && !$(".preview") && !$(".bad") && !$(".hints")) box.value = old;
    let timer = 0;
    const keep = async (last) => {
      clearTimeout(timer);
      timer = 0;
      if (!form.dataset.draft) return;
      const fields = new URLSearchParams({ action: new URL(form.action).pathname, heading: form.dataset.heading });
      for (const n of ["name", "email", "subject", "body", "groups", "followup"]) if (form[n]) fields.set(n, form[n].value);
      try {
        const headers = form.dataset.seen ? { "If-Match": form.dataset.seen } : {};
        const res = await fetch(form.dataset.draft, { method: "PUT", body: fields, headers, keepalive: !!last && fields.toString().length < 60000 });
        if (!res.ok && res.status !== 412) throw 0;
        kept.textContent = await res.text();
        if (!res.ok) return; // another tab or device wrote it: the text stays in this browser
        const tag = res.headers.get("ETag");
        if (tag) {
          form.dataset.seen = tag.replace("W/", "");
          history.replaceState(null, "", "?draft=" + form.dataset.draft.split("/").pop()); // so a reload finds it
        }
        store(local, key, null);
      } catch (_) {
        if (kept) kept.textContent = say.unkept;
      }
    };
    form.addEventListener("input", (e) => {
      if (e.target.type === "file") return;
      store(local, key, box.value);
      if (!timer) timer = setTimeout(keep, 3000);
    });
    addEventListener("pagehide", () => timer && keep(true));
    form.addEventListener("submit", (e) => {
      clearTimeout(timer);
      timer = 0;
      if (e.submitter && e.submitter.name) return;
      e.preventDefault();
      const octets = [...form.file.files].reduce((n, f) => n + f.size, 0);
      if (octets > +form.dataset.max) return notice(form, fill(form.dataset.large, size(octets), size(+form.dataset.max)), true);
      send(form, (to, page) => {
        store(local, key, null);
        if (to) location = to;
        else {
          // The article waits: the page that says so has the address of the form.
          $("main").replaceWith(document.adoptNode($("main", page)));
          document.title = page.title;
          scrollTo(0, 0);
        }
      });
    });
    form.addEventListener("keydown", (e) => {
      if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) form.requestSubmit();
    });
    // Files by picker, by drag and by paste: each is named and can be taken off.
    const picked = make("ul", { className: "picked" });
    form.file.after(picked);
    const set = (files) => {
      const d = new DataTransfer();
      for (const f of files) d.items.add(f);
      form.file.files = d.files;
      list();
    };
    const list = () =>
      picked.replaceChildren(
        ...[...form.file.files].map((f) => {
          const drop = make("button", { type: "button", className: "link", textContent: form.dataset.drop, onclick: () => set([...form.file.files].filter((x) => x !== f)) });
          drop.setAttribute("aria-label", form.dataset.drop + ": " + f.name);
          return make("li", {}, make("span", { dir: "auto", textContent: f.name }), " ", make("span", { className: "dim", textContent: size(f.size) }), " ", drop);
        }),
      );
    form.file.addEventListener("change", list);
    const take = (files) => files.length && set([...form.file.files, ...files]);
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

  // A thread's end: what one writes there is sent without leaving the page.
  const posts = $(".posts[data-tail]");
  const quick = $("form.quick");
  if (quick) {
    const word = quick.body;
    const key = "quick " + location.pathname;
    word.value = word.value || store(local, key) || "";
    word.addEventListener("input", () => store(local, key, word.value || null));
    word.addEventListener("keydown", (e) => {
      if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) quick.requestSubmit();
    });
    quick.addEventListener("submit", (e) => {
      e.preventDefault();
      send(quick, (to) => {
        word.value = "";
        store(local, key, null);
        all(".notice.bad", quick.parentNode).forEach((n) => n.remove());
        word.focus();
        if (!to) return;
        if (!live || live.readyState === 2) {
          location = to;
          location.reload();
        }
      });
    });
  }

  // News: one connection, closed while the page is hidden. On the last page of a
  // thread articles appear; elsewhere a button tells how many there are.
  const want = say.live;
  let live;
  if (want && window.EventSource) {
    let n = 0;
    let seen = say.seq;
    const more = document.createElement("button");
    more.className = "button live";
    more.type = "button";
    more.onclick = () => location.reload();
    const count = () => {
      more.textContent = ++n === 1 ? say.newOne : say.newOther.replace("0", n);
      if (!more.isConnected) {
        more.setAttribute("aria-live", "polite");
        $("main").append(more);
      }
    };
    let turnOf = Promise.resolve();
    const add = async (id) => {
      const path = "/m/" + encodeURIComponent(id).replace("%40", "@");
      const res = await fetch(`${path}/post?g=${encodeURIComponent(posts.dataset.tail)}&s=${encodeURIComponent(posts.dataset.subject)}`);
      if (!res.ok) return;
      const post = $(".post", html(await res.text()));
      if (!post || document.getElementById(post.id)) return;
      const low = innerHeight + scrollY >= document.documentElement.scrollHeight - 300;
      posts.append(document.adoptNode(post));
      if (low) scrollTo(0, document.documentElement.scrollHeight);
    };
    const connect = () => {
      live = new EventSource(`/events?${want === "all" ? want : want[0] + "=" + encodeURIComponent(want.slice(2))}&after=${seen}`);
      live.onerror = () => live.readyState === 2 && setTimeout(() => !document.hidden && connect(), 15000);
      live.onmessage = (e) => {
        seen = e.lastEventId || seen;
        if (posts && want[0] === "t") turnOf = turnOf.then(() => add(JSON.parse(e.data).id)).catch(count);
        else count();
      };
    };
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) live.close();
      else if (live.readyState === 2) connect();
    });
    if (posts) {
      posts.setAttribute("role", "log");
      posts.setAttribute("aria-live", "polite");
    }
    connect();
  }
})();
