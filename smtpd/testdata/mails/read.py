"""Writes what Python's email parser reads in each mail: NAME.json beside NAME.eml."""
import email, email.header, email.policy, json, pathlib, re, sys


def tidy(s):
    s = s.replace("\r", "\n")
    s = "".join("" if c < " " and c not in "\n\t" or "\x7f" <= c < "\xa0" else c for c in s)
    return " ".join(s.split())


def decode(b, label):
    """b as label says; web names of charsets, as mail programs read them."""
    label = {"iso-8859-1": "cp1252", "us-ascii": "cp1252", "gb2312": "gb18030", "gbk": "gb18030", "ks_c_5601-1987": "cp949", "euc-kr": "cp949", "big5": "cp950", "iso-8859-9": "cp1254", "shift_jis": "cp932"}.get(label, label)
    return b.decode(label)


def header(v):
    v = re.sub(r"\r?\n(?=[ \t])", "", str(v or ""))
    out = []
    for text, label in email.header.decode_header(v):
        if isinstance(text, str):
            out.append(text)
        else:
            out.append(decode(text, (label or "us-ascii").lower()))
    return tidy("".join(out))


def read(raw):
    m = email.message_from_bytes(raw, policy=email.policy.compat32)
    texts = []
    for p in m.walk():
        if p.get_content_maintype() != "text" or p.is_multipart():
            continue
        label = str(p.get_content_charset() or "us-ascii").lower()
        texts.append(tidy(decode(p.get_payload(decode=True), label)))
    parts = sum(1 for p in m.walk() if not p.is_multipart() or p.get_content_maintype() == "message")
    return {"parts": parts, "subject": header(m["Subject"]) or "(no subject)", "from": header(m["From"]), "texts": texts}


if __name__ == "__main__":
    for name in sys.argv[1:]:
        f = pathlib.Path(name)
        f.with_suffix(".json").write_text(json.dumps(read(f.read_bytes()), ensure_ascii=True, indent=1) + "\n")
