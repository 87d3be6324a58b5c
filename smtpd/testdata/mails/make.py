"""Makes mails as programs of all kinds write them, well and badly, and says what Python's email parser reads in each: a line
of JSON with the mail (base64) and its reading (read.py) for each. The same number makes the same mails."""
import base64, json, quopri, random, sys
import read

WORDS = {
    "latin": "Grüße aus Köln: große Bäume, façade, naïve, señor, smørrebrød",
    "central": "Příliš žluťoučký kůň, zażółć gęślą jaźń, árvíztűrő",
    "cyrillic": "Съешь же ещё этих мягких французских булок, да выпей чаю",
    "ukrainian": "Жебракують філософи при ґанку церкви, ще й їх вікна",
    "greek": "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία, καλημέρα",
    "turkish": "Pijamalı hasta yağız şoföre çabucak güvendi",
    "hebrew": "דג סקרן שט בים מאוכזב ולפתע מצא לו חברה",
    "arabic": "نص حكيم له سر قاطع وذو شأن عظيم",
    "baltic": "Glāžšķūņa rūķīši dzērumā čiepj Baha koncertflīģeļu vākus",
    "vietnamese": "Do bạch kim rất quý",
    "thai": "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า",
    "japanese": "いろはにほへと、ちりぬるを。日本語のメール、漢字とカタカナ",
    "chinese": "中文邮件测试,汉字编码问题很多。",
    "traditional": "繁體中文電子郵件測試,許功蓋的問題。",
    "korean": "한국어 메일 시험입니다. 다람쥐 헌 쳇바퀴에",
    "ascii": "plain old text, nothing else - really (yes) = no?",
}
CHARSETS = {
    "latin": ["iso-8859-1", "ISO-8859-15", "windows-1252", "utf-8", "UTF-8", "iso-8859-9", "macintosh"], "central": ["iso-8859-2", "windows-1250", "utf-8", "iso-8859-16", "ibm852"],
    "cyrillic": ["koi8-r", "KOI8-R", "windows-1251", "iso-8859-5", "ibm866", "ibm855", "utf-8", "x-mac-cyrillic"], "ukrainian": ["koi8-u", "windows-1251", "utf-8"],
    "greek": ["iso-8859-7", "windows-1253", "utf-8"], "turkish": ["iso-8859-9", "windows-1254", "utf-8"], "hebrew": ["windows-1255", "iso-8859-8", "iso-8859-8-i", "utf-8"],
    "arabic": ["windows-1256", "iso-8859-6", "utf-8"], "baltic": ["windows-1257", "iso-8859-13", "iso-8859-4", "utf-8"], "vietnamese": ["windows-1258", "utf-8"], "thai": ["tis-620", "windows-874", "iso-8859-11", "utf-8"],
    "japanese": ["iso-2022-jp", "ISO-2022-JP", "shift_jis", "Shift_JIS", "euc-jp", "utf-8", "windows-31j", "iso-2022-jp-1", "iso-2022-jp-2"], "chinese": ["gb2312", "GB2312", "gbk", "gb18030", "hz-gb-2312", "utf-8", "cp936", "euc-cn"],
    "traditional": ["big5", "Big5", "big5-hkscs", "utf-8", "cp950"], "korean": ["euc-kr", "ks_c_5601-1987", "iso-2022-kr", "utf-8", "cp949", "uhc"], "ascii": ["us-ascii", "utf-8", "iso-8859-1", "utf-7"],
}
PYTHON = {"ibm866": "cp866", "x-mac-cyrillic": "mac-cyrillic", "macintosh": "mac-roman", "windows-874": "cp874", "hz-gb-2312": "hz", "iso-8859-8-i": "iso-8859-8", "ks_c_5601-1987": "cp949", "windows-31j": "cp932"}


def octets(s, charset):
    return s.encode(PYTHON.get(charset.lower(), charset), "ignore")


class Maker:
    def __init__(self, seed):
        self.r = random.Random(seed)
        self.n = 0

    def text(self):
        """A language's text, its charset, and its octets in it."""
        kind = self.r.choice(list(WORDS))
        charset = self.r.choice(CHARSETS[kind])
        words = WORDS[kind].split()
        lines = [" ".join(self.r.sample(words, self.r.randint(1, len(words)))) for _ in range(self.r.randint(1, 6))]
        if self.r.random() < 0.1:  # a paragraph as one line
            lines.append(" ".join(self.r.choice(words) for _ in range(self.r.randint(100, 600))))
        if self.r.random() < 0.05:
            lines.append("x" * self.r.randint(990, 5000))
        lines[self.r.randrange(len(lines)):0] = [self.r.choice(["", "> quoted text", ".", "..dots", "From here", "-- ", "=3D", "a  b\tc", "-" * 60])]
        return charset, octets("\n".join(lines) + "\n", charset)

    def word(self):
        """A header's text, as encoded words of some kind, or raw."""
        kind = self.r.choice(list(WORDS))
        charset = self.r.choice(CHARSETS[kind])
        words = WORDS[kind].split()
        s = " ".join(self.r.sample(words, min(len(words), self.r.randint(1, 4))))
        way = self.r.choice(["b", "q", "B", "Q", "split", "mixed", "lang", "nopad", "lower", "raw", "plain", "glued", "tab", "quoted", "run", "space", "empty", "unknown", "half", "long"])
        if kind == "ascii" or way == "plain":
            return "Re: plain words".encode()
        b = octets(s, charset)
        enc = lambda b, c="b": b"=?" + charset.encode() + b"?" + c.encode() + b"?" + (base64.b64encode(b) if c in "bB" else q(b)) + b"?="
        if way in ("b", "q", "B", "Q"):
            return enc(b, way)
        if way == "split":
            parts = [enc(octets(w, charset), self.r.choice("bq")) for w in s.split()]
            return self.r.choice([b" ", b"\n ", b"\n\t", b"  "]).join(parts)
        if way == "mixed":
            return b"Re: " + enc(b) + b" and more"
        if way == "lang":
            return b"=?" + charset.encode() + b"*en?q?" + q(b) + b"?="
        if way == "nopad":
            return enc(b).replace(b"=?=", b"?=").replace(b"=?=", b"?=")
        if way == "lower":
            return enc(b, "q").replace(b"=E", b"=e").replace(b"=C", b"=c")
        if way == "quoted":
            return b'"' + enc(b, "q") + b'"'
        if way == "run":
            return enc(b) + enc(b, "q")
        if way == "space":
            return b"=?" + charset.encode() + b"?q?" + q(b).replace(b"_", b" ") + b"?="
        if way == "empty":
            return b"=?utf-8?q??= " + enc(b)
        if way == "unknown":
            return b"=?x-nothing?q?abc=41?= plain"
        if way == "half":
            return b"=?utf-8?q?abc =?utf-8?b?"
        if way == "long":
            return b"\n ".join(enc(octets(s, charset), "q") for _ in range(40))
        if way == "glued":
            return b"[tag]" + enc(b, "q")
        if way == "tab":
            return enc(b) + b"\n\t" + enc(octets(" " + s, charset), "q")
        return s.encode()  # raw UTF-8

    def type_of(self, kind, charset):
        q = self.r.choice(['charset="%s"', "charset=%s", 'CHARSET="%s"', " charset = %s", 'charset="%s"; format=flowed', 'charset="%s"; format=flowed; delsp=yes', "charset=%s;", "charset=%s ;; x=y", "charset*=us-ascii'en'%s", "charset=%s (a comment)", 'x=y; charset="%s"; name=a.txt', "charset=%s; reply-type=original"])
        return (kind + self.r.choice(["; ", ";\n ", ";\n\t", ";"]) + q % charset).encode()

    def encode(self, b):
        """Octets in some transfer encoding, and what names it."""
        way = self.r.choice(["8bit", "qp", "base64", "8BIT", "Quoted-Printable", "BASE64", "none", "base64-junk", "qp-soft", "qp-bad", "base64-long", "binary", "qp-lower", "base64-open", "base64-footer"])
        if way in ("8bit", "8BIT", "binary"):
            return way, b
        if way == "none":
            return None, b
        if way in ("qp", "Quoted-Printable"):
            return {"qp": "quoted-printable"}.get(way, way), quopri.encodestring(b)
        if way == "qp-lower":
            return "quoted-printable", bytes(quopri.encodestring(b)).replace(b"=E", b"=e").replace(b"=D", b"=d")
        if way == "qp-soft":
            return "quoted-printable", b"soft =\n" + quopri.encodestring(b) + b"end=20\n"
        if way == "qp-bad":
            return "quoted-printable", quopri.encodestring(b) + b"100=ZZ =1 =\n=\n"
        e = base64.encodebytes(b)
        if way == "base64-junk":
            return "base64", e.replace(b"\n", b" \n", 1) + b"\n\n"
        if way == "base64-footer":  # of a list, below the padding
            return "base64", base64.encodebytes(b + b" " * (-(len(b) + 2) % 3)) + b"____\nA list\n"
        if way == "base64-long":
            return "base64", base64.b64encode(b) + b"\n"
        if way == "base64-open":
            return "base64", e.rstrip(b"=\n") + b"\n"
        return self.r.choice(["base64", "BASE64", "Base64"]), e

    def leaf(self):
        """A part that holds others not: header and body."""
        kind = self.r.choice(["text/plain"] * 6 + ["text/html"] * 2 + ["image/png", "application/octet-stream", "application/ms-tnef", "text/calendar", "none", "bare", "odd", "odd", "rfc822-base64", "external", "text/x-patch", "TEXT/PLAIN", "application/pgp-signature"])
        charset, b = self.text()
        cte, e = self.encode(b)
        if kind == "odd":
            return self.r.choice([b"Content-Type: text\n", b"Content-Type:\n", b"Content-Type: text/plain charset=utf-8\n", b"Content-Type: multipart/mixed\n", b"Content-Type: text/plain; charset\n",
                                  b"Content-Type: text/plain\nContent-Type: text/html\n", b"Content-Type: text/plain; charset=\"utf-8\n", b"Content-Type: /plain\n", b"Content-Transfer-Encoding: x-what\n",
                                  b"Content-Type: text/plain; charset=\"\"\n", b"X: y\n  \nContent-Type: text/plain\n"]), "odd Gr\u00fc\u00dfe\n".encode()
        if kind == "uu":
            return b"", b"begin 644 x.txt\n#0V%T\n`\nend\n"
        if kind == "rfc822-base64":
            return b"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n", base64.encodebytes(b"Subject: x\n\ntext\n")
        if kind == "external":
            return b"Content-Type: message/external-body; access-type=anon-ftp; name=x\n", b"Content-Type: text/plain\n\nphantom\n"
        if kind == "none":
            return b"", octets("no header at all\n", "ascii")
        if kind == "bare":
            return b"Content-Type: text/plain\n", b"no charset\n"
        h = b""
        if kind.lower().startswith("text/"):
            if kind == "text/html":
                e = None
                b = b"<html><body><p>" + b.replace(b"\n", b"<br>\n") + b"</p></body></html>\n"
                cte, e = self.encode(b)
            h += b"Content-Type: " + self.type_of(kind, charset) + b"\n"
        else:
            b = bytes(self.r.randrange(256) for _ in range(self.r.randint(0, 300)))
            cte, e = "base64", base64.encodebytes(b)
            name = self.r.choice([b"; name=a.bin", b'; name="a b.bin"', b'; name="=?utf-8?b?w7wuYmlu?="', b";\n name*=utf-8''%C3%BC.bin", b";\n name*0=\"long\";\n name*1=\"er.bin\"", b""])
            h += b"Content-Type: " + kind.encode() + name + b"\n"
        if cte:
            h += self.r.choice([b"Content-Transfer-Encoding: ", b"content-transfer-encoding:", b"Content-Transfer-Encoding:   "]) + cte.encode() + b"\n"
        if self.r.random() < 0.3:
            h += b"Content-Disposition: " + self.r.choice([b"inline", b"attachment", b'attachment; filename="x.dat"', b"attachment;\n filename*0*=utf-8''%E6%97;\n filename*1*=%A5.dat"]) + b"\n"
        if self.r.random() < 0.2:
            h += b"Content-ID: <a@b>\nContent-Description: " + self.word() + b"\n"
        return h, e

    def part(self, depth):
        if depth <= 0 or self.r.random() < 0.55:
            return self.leaf()
        if self.r.random() < 0.15:
            h, b = self.part(depth - 1)
            return b"Content-Type: message/rfc822\n", b"From: inner@b.example\nSubject: " + self.word() + b"\n" + h + b"\n" + b
        self.n += 1
        sub = self.r.choice(["mixed", "alternative", "related", "signed", "encrypted", "parallel", "x-unknown", "MIXED", "appledouble"])
        bound = self.r.choice(["b%d", "=_%d.x", "----=_Part_%d", "b%d b", "'()+_,-./:=?%d"]) % self.n
        quoted = '"%s"' % bound if not bound[0] in "b" or " " in bound or self.r.random() < 0.5 else bound
        extra = self.r.choice(["", "; type=\"text/html\"", ";\n charset=utf-8", "; protocol=\"application/pgp-signature\"; micalg=pgp-sha1"])
        h = ("Content-Type: multipart/%s;%sboundary=%s%s\n" % (sub, self.r.choice([" ", "\n\t", "\n ", ""]), quoted, extra)).encode()
        out = self.r.choice([b"", b"This is a multi-part message.\n", b"\n"])
        for _ in range(self.r.randint(1, 4)):
            ph, pb = self.part(depth - 1)
            out += b"--" + bound.encode() + self.r.choice([b"", b"", b" ", b"\t"]) + b"\n" + ph + b"\n" + pb + self.r.choice([b"\n", b"\n", b""])
            if not out.endswith(b"\n"):
                out += b"\n"
        out += self.r.choice([b"--" + bound.encode() + b"--\n"] * 4 + [b"--" + bound.encode() + b"--\nepilogue\n", b"", b"--" + bound.encode() + b"--"])
        return h, out

    def sender(self):
        return self.r.choice([lambda: b"a@a.example", lambda: self.word() + b" <a@a.example>", lambda: b'"' + b"Quoted, Name" + b'" <a@a.example>', lambda: b"a@a.example (" + b"A Comment" + b")",
                              lambda: b"<a@a.example>", lambda: b"One <a@a.example>, Two <b@b.example>", lambda: b'"\\"Nick\\" Name" <a@a.example>', lambda: b"A.B. Dotted <a@a.example>", lambda: b"Group: a@a.example, b@b.example;", lambda: b'"a@a.example" <a@a.example>', lambda: b"<a@a.example> (comment)", lambda: b"a@a.example <b@b.example>"])()

    def mail(self, i):
        h = []
        h.append(b"From: " + self.sender())
        if self.r.random() < 0.95:
            h.append(b"Subject: " + self.word())
        if self.r.random() < 0.9:
            h.append(b"Message-ID: <%d@made.example>" % i)
        if self.r.random() < 0.9:
            h.append(b"Date: " + self.r.choice([b"Mon, 2 Nov 2026 10:00:00 +0000", b"2 Nov 26 10:00 GMT", b"Monday, 02-Nov-26 10:00:00 CET", b"yesterday", b"Mon,  2 Nov 2026 10:00:00 +0100 (MEZ)"]))
        if self.r.random() < 0.3:
            h.append(b"To: " + self.r.choice([b"group@box.example", b"undisclosed-recipients:;", b"A: a@a.example, b@b.example;", b", ".join(b"user%d@long.example" % k for k in range(self.r.randint(1, 300)))]))
        if self.r.random() < 0.2:
            h.append(b"References: " + b"\n ".join(b"<%d.%d@made.example>" % (i, k) for k in range(self.r.randint(0, 60))))
        if self.r.random() < 0.2:
            h.append(b"X-Long: " + b"x" * self.r.randint(900, 3000))
        if self.r.random() < 0.2:
            h.append(b"Sender: s@a.example\nReply-To: r@a.example\nKeywords: " + self.word() + b"\nOrganization: " + self.word())
        if self.r.random() < 0.1:
            h.append(b"Subject: a second one")
        if self.r.random() < 0.8:
            h.append(b"MIME-Version: 1.0")
        self.r.shuffle(h)
        ph, body = self.part(3)
        return b"\n".join(h) + b"\n" + ph + b"\n" + body


def q(b):
    return b"".join(b"_" if c == 32 else bytes([c]) if chr(c).isalnum() and c < 128 else b"=%02X" % c for c in b)


if __name__ == "__main__":
    seed, count = int(sys.argv[1]), int(sys.argv[2])
    for i in range(count):
        raw = Maker(seed * 1000003 + i).mail(i)
        raw = raw.replace(b"\r\n", b"\n")
        try:
            want = read.read(raw)
        except Exception as err:
            want = {"wrong": f"{type(err).__name__}: {err}"}
        print(json.dumps({"mail": base64.b64encode(raw).decode(), "want": want}))
