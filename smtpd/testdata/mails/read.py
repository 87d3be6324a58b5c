"""Writes what Python's email parser reads in each mail: NAME.json beside NAME.eml; without names it reads mails from
standard input, each behind a line with its length, and answers each with a line."""
import email, email.header, email.policy, hashlib, json, pathlib, re, sys


def tidy(s):
    s = s.replace("\r", "\n")
    s = "".join("" if c < " " and c not in "\n\t" or "\x7f" <= c < "\xa0" else c for c in s)
    return " ".join(s.split())


WEB = {"iso-8859-1": "cp1252", "us-ascii": "cp1252", "gb2312": "gb18030", "gbk": "gb18030", "ks_c_5601-1987": "cp949", "euc-kr": "cp949",
       "big5": "cp950", "iso-8859-9": "cp1254", "shift_jis": "cp932", "windows-874": "cp874", "tis-620": "cp874", "iso-8859-11": "cp874", "iso-8859-8-i": "iso-8859-8",
       "x-mac-cyrillic": "mac-cyrillic", "windows-31j": "cp932", "big5-hkscs": "big5hkscs"}


def decode(b, label, errors="strict"):
    """b as label says; web names of charsets and the quotes of Windows, as mail programs read them."""
    label = label.partition("*")[0]  # RFC 2231 5: a language stands behind it
    s = b.decode(WEB.get(label, label), errors)
    if label.startswith("iso-8859-"):
        s = re.sub("[\x80-\x9f]", lambda m: m[0].encode("latin-1").decode("cp1252", "replace"), s)
    return s


def ascii_of(s):
    return tidy("".join(c for c in s if c < "\x80"))


def header(v):
    v = v or ""
    if not isinstance(v, str):  # raw octets: no RFC says what they mean
        return {"wrong": "raw octets", "ascii": ascii_of(str(v)), "lost": str(v).count("\ufffd")}
    v = re.sub(r"\r?\n(?=[ \t])", "", v)
    out = []
    for text, label in email.header.decode_header(v):
        if isinstance(text, str):
            out.append(text)
        else:
            out.append(decode(text, (label or "us-ascii").lower()))
    return tidy("".join(out))


def text(octets, label):
    try:
        s = tidy(decode(octets, label))
    except LookupError:
        return {"wrong": "LookupError", "ascii": ascii_of(octets.decode("latin-1"))}
    except ValueError as err:
        s = decode(octets, label, "replace")
        return {"wrong": type(err).__name__, "ascii": ascii_of(s), "lost": s.count("\ufffd")}
    try:
        u = tidy(octets.decode())
    except ValueError:
        return s
    if u != s and label in ("us-ascii", "iso-8859-1", "cp1252", "windows-1252"):
        return {"wrong": "a label that lies: it is UTF-8", "utf8": u, "ascii": ascii_of(s)}
    return s


def walk(m):
    """All parts, but for what no mail program looks into: RFC 2046 5.2.1 knows no encoded messages, 5.2.2 only pieces, 5.2.3
    no inner body."""
    yield m
    if m.get_content_type() in ("message/external-body", "message/partial") or m.get_content_maintype() == "message" and m["Content-Transfer-Encoding"] in ("base64", "quoted-printable"):
        return
    if m.is_multipart():
        for p in m.get_payload():
            yield from walk(p)


def read(raw):
    m = email.message_from_bytes(raw, policy=email.policy.compat32)
    parts = list(walk(m))
    texts, files = [], []
    for p in parts:
        if p.get_boundary() == "":
            return {"wrong": "it sees an empty boundary, which RFC 2046 5.1.1 does not know"}
        if p.is_multipart():
            continue
        octets = p.get_payload(decode=True)
        no_type = "/" not in p.get("Content-Type", "/") and p.get_param("name")  # a file, its name says
        if p.get_content_maintype() not in ("text", "multipart") or no_type:  # a multipart without parts is what stands in it
            if p.get_content_maintype() != "message":
                files.append(hashlib.sha256(octets.replace(b"\r\n", b"\n").rstrip(b"\n")).hexdigest()[:16])
            continue
        label = str(p.get_content_charset() or "us-ascii").lower().partition("(")[0].strip()  # a comment, RFC 2045 5.1
        texts.append(text(octets, label))
    count = sum(1 for p in parts if not p.is_multipart() or p.get_content_maintype() == "message")
    return {"parts": count, "subject": header(m["Subject"]) or "(no subject)", "from": header(m["From"]), "texts": texts, "files": files}


def serve():
    while length := sys.stdin.buffer.readline():
        raw = sys.stdin.buffer.read(int(length))
        try:
            print(json.dumps(read(raw)), flush=True)
        except Exception as err:
            print(json.dumps({"wrong": f"{type(err).__name__}: {err}"}), flush=True)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        f = pathlib.Path(name)
        f.with_suffix(".json").write_text(json.dumps(read(f.read_bytes()), ensure_ascii=True, indent=1) + "\n")
    if not sys.argv[1:]:
        serve()
