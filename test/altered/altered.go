// Package altered makes .torrent files that bend or break one rule each, in a
// systematic way: names, paths, numbers, hashes, types, order, size. The content of
// all of them is zeros, so that whoever takes one can be given what it names.
package altered

import (
	"bytes"
	"crypto/sha1"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Torrent is a metainfo file.
type Torrent struct {
	Name string // what is altered
	File []byte
	// Sound says that nothing in the info dictionary forbids to take it. Of others
	// either may be done: refuse, or take.
	Sound bool
	// Broken says that it must be refused.
	Broken bool
}

const pieceLength = 16 << 10

// A value to be encoded: int, int64, string, list, dict or raw.
type (
	list []any
	dict []any // keys and values in turn, in that order: unsorted and double ones too
	raw  string
)

func encode(b *bytes.Buffer, v any) {
	switch v := v.(type) {
	case int:
		fmt.Fprintf(b, "i%de", v)
	case int64:
		fmt.Fprintf(b, "i%de", v)
	case string:
		fmt.Fprintf(b, "%d:%s", len(v), v)
	case raw:
		b.WriteString(string(v))
	case list:
		b.WriteByte('l')
		for _, x := range v {
			encode(b, x)
		}
		b.WriteByte('e')
	case dict:
		b.WriteByte('d')
		for _, x := range v {
			encode(b, x)
		}
		b.WriteByte('e')
	default:
		panic(fmt.Sprintf("no bencode for %T", v))
	}
}

// set returns d with another value for key, at its place in the order.
func (d dict) set(key string, v any) dict {
	for i := 0; i < len(d); i += 2 {
		k, _ := d[i].(string)
		if k == key {
			out := slices.Clone(d)
			out[i+1] = v
			return out
		}
		if k > key {
			return slices.Insert(slices.Clone(d), i, any(key), v)
		}
	}
	return append(slices.Clone(d), key, v)
}

// without returns d without key.
func (d dict) without(key string) dict {
	for i := 0; i < len(d); i += 2 {
		if d[i] == any(key) {
			return slices.Delete(slices.Clone(d), i, i+2)
		}
	}
	return d
}

// zeros returns the piece hashes of that many zeros; of absurdly many, none.
func zeros(length, piece int64) string {
	if length > 1<<30 {
		return ""
	}
	var b strings.Builder
	full := sha1.Sum(make([]byte, piece))
	for ; length >= piece; length -= piece {
		b.Write(full[:])
	}
	if length > 0 {
		last := sha1.Sum(make([]byte, length))
		b.Write(last[:])
	}
	return b.String()
}

// single is a torrent of one file.
func single(name string, length int64) dict {
	return dict{"length", length, "name", name, "piece length", pieceLength, "pieces", zeros(length, pieceLength)}
}

// file is one of several. attr may be "".
func file(length int64, attr string, path ...string) dict {
	parts := list{}
	for _, p := range path {
		parts = append(parts, p)
	}
	if attr == "" {
		return dict{"length", length, "path", parts}
	}
	return dict{"attr", attr, "length", length, "path", parts}
}

// multi is a torrent of files, each of which has its length second or fourth.
func multi(files ...dict) dict {
	var total int64
	all := list{}
	for _, f := range files {
		for i := 0; i < len(f); i += 2 {
			if n, ok := f[i+1].(int64); ok && f[i] == "length" {
				total += n
			}
		}
		all = append(all, f)
	}
	return dict{"files", all, "name", "folder", "piece length", pieceLength, "pieces", zeros(total, pieceLength)}
}

// collector gathers torrents.
type collector struct {
	out []Torrent
	n   int64
}

type verdict int

const (
	either verdict = iota
	sound
	broken
)

// whole adds a metainfo file.
func (c *collector) whole(v verdict, name string, file any) {
	var b bytes.Buffer
	encode(&b, file)
	c.out = append(c.out, Torrent{Name: name, File: b.Bytes(), Sound: v == sound, Broken: v == broken})
}

// info adds a metainfo file with that info dictionary.
func (c *collector) info(v verdict, name string, info any) {
	c.whole(v, name, dict{"info", info})
}

// length is another one each time, so that no two torrents are the same.
func (c *collector) length() int64 { c.n++; return 1000 + c.n }

// All returns the torrents: several hundred, most of them small.
func All() []Torrent {
	c := &collector{}
	c.names()
	c.paths()
	c.lengths()
	c.pieces()
	c.numbers()
	c.structure()
	c.types()
	c.attributes()
	c.utf8Keys()
	c.addresses()
	c.versions()
	c.sizes()
	return c.out
}

// separators and the like make a name that is no component of a path.
var badNames = []string{"", ".", "..", "/", "a/b", "/etc/passwd", "../../etc/cron.d/x", `..\..\x`, `C:\x`, "a\\b", "a\x00b", "\x00", "a/", "//", "./x", "x/..", "</script>", "data:text/html,x", "http://x.example/"}

// ugly names are bytes that a file system, a terminal or an HTTP header may stumble on.
var uglyNames = []string{
	"CON", "con.txt", "CON.tar.gz", "PRN", "aux.h", "NUL", "nul ", "COM1", "com9.log", "COM\u00b9", "lpt\u00b2.txt", "LPT0", "CONIN$", "conout$.x",
	"trailing.", "trailing ", "trailing. .", " leading", ".hidden", "...", "....", "-rf", "--help", "~", "~root", "$HOME", "`id`", "$(id)", ";reboot", "|x", "&", "a&b=c", "#x", "?x", "a?b#c", "%2e%2e%2f", "%00", "a%", "*", "<script>alert(1)", `"><img src=x>`, "'quote'", `"quote"`, "javascript:alert(1)",
	"new\nline", "carriage\rreturn", "crlf\r\nSet-Cookie: a=b", "tab\t", "bell\x07", "escape\x1b[31mred", "delete\x7f", "c1\u0085next", "\u2028line", "\u2029paragraph",
	"evil\u202egpj.exe", "\u202dx", "\u2066x\u2069", "\u200fx", "\u061cx", "\ufeffx", "zero\u200bwidth", "soft\u00adhyphen", "\u3000", "\u00a0", "e\u0301.txt", "\u00e9.txt", "\ufb01.txt", "\U0001f4a9.txt", "\U000e0041", "\ud7ff\ue000", "\ufffe", "\uffff",
	"\xff", "\xc0\xaf", "\xc0\xae\xc0\xae", "\xe0\x80\xaf", "\xf8\x88\x80\x80\x80", "\xed\xa0\x80", "a\x80", "\xc3", "gr\xfc\xdfe.txt", "\xc4\xe3\xba\xc3.txt",
	"colon:stream", "index.html", ".htaccess", "x.svg", "x.html", "x.torrent", "x.meta4", "announce", "desktop.ini", "Thumbs.db", ".DS_Store",
}

func (c *collector) names() {
	for _, n := range badNames {
		v := broken
		c.info(v, fmt.Sprintf("name %q", n), single(n, c.length()))
		c.info(v, fmt.Sprintf("name %q of a folder", n), multi(file(c.length(), "", "x")).set("name", n))
		c.info(v, fmt.Sprintf("file %q", n), multi(file(c.length(), "", n), file(5, "", "other")))
		c.info(v, fmt.Sprintf("folder %q", n), multi(file(c.length(), "", n, "x")))
	}
	for _, n := range uglyNames {
		c.info(sound, fmt.Sprintf("name %q", n), single(n, c.length()))
		c.info(sound, fmt.Sprintf("folder %q", n), multi(file(c.length(), "", n, "x"), file(5, "", n, n)).set("name", n))
	}
	for _, n := range []int{120, 121, 254, 255, 256, 260, 1000, 1024} {
		for _, letter := range []string{"n", "\u00e4", "\u65e5"} {
			name := strings.Repeat(letter, n/len(letter))
			c.info(sound, fmt.Sprintf("name of %d %q", n, letter), single(name, c.length()))
		}
		c.info(either, fmt.Sprintf("file of %d", n), multi(file(c.length(), "", strings.Repeat("f", n)+".txt")))
	}
	c.info(broken, "name of 70,000", single(strings.Repeat("n", 70000), c.length()))
}

// paths are names that are sound each and clash with one another.
func (c *collector) paths() {
	for what, pair := range map[string][2][]string{
		"case":              {{"Readme.txt"}, {"README.TXT"}},
		"case of a folder":  {{"Dir", "a"}, {"dir", "b"}},
		"normal forms":      {{"\u00e9"}, {"e\u0301"}},
		"compatibility":     {{"\ufb01"}, {"fi"}},
		"trailing dot":      {{"a"}, {"a."}},
		"trailing space":    {{"a"}, {"a "}},
		"file and folder":   {{"a"}, {"a", "b"}},
		"folder and file":   {{"a", "b"}, {"a"}},
		"encoded":           {{"a b"}, {"a%20b"}},
		"plus":              {{"a b"}, {"a+b"}},
		"of another folder": {{"folder", "x"}, {"x"}},
		"device":            {{"CON"}, {"con"}},
	} {
		c.info(sound, "clash by "+what, multi(file(c.length(), "", pair[0]...), file(c.length(), "", pair[1]...)))
	}
	c.info(broken, "one path twice", multi(file(c.length(), "", "a"), file(7, "", "a")))
	c.info(broken, "no components", multi(file(c.length(), "")))
	deep := slices.Repeat([]string{"d"}, 16)
	c.info(sound, "16 components", multi(file(c.length(), "", deep...)))
	c.info(broken, "17 components", multi(file(c.length(), "", append(deep, "e")...)))
	c.info(broken, "5,000 components", multi(file(c.length(), "", slices.Repeat([]string{"d"}, 5000)...)))
	c.info(broken, "a path of 4,000 octets", multi(file(c.length(), "", slices.Repeat([]string{strings.Repeat("p", 250)}, 16)...)))
	for i, what := range []string{"first", "in the middle", "last"} {
		files := []dict{file(c.length(), "", "a"), file(20000, "", "b"), file(1, "", "c")}
		c.info(sound, "empty file "+what, multi(slices.Insert(files, []int{0, 1, 3}[i], file(0, "", "empty"))...))
	}
	c.info(sound, "empty files only", multi(file(0, "", "a"), file(0, "", "b")))
	c.info(sound, "an empty file", single("empty", 0))
	c.info(sound, "one file in a list", multi(file(c.length(), "", "a")))
	c.info(broken, "no files", multi())
}

func (c *collector) lengths() {
	for _, n := range []int64{-1, -1 << 31, -1 << 63, 1 << 62, 1<<63 - 1, 64<<30 + 1, 1 << 40} {
		c.info(broken, fmt.Sprintf("length %d", n), single("x", 1).set("length", n))
		c.info(broken, fmt.Sprintf("a file of %d", n), multi(file(1, "", "a"), file(0, "", "b").set("length", n)))
	}
	c.info(broken, "lengths that overflow", multi(file(0, "", "a").set("length", int64(1<<62)), file(0, "", "b").set("length", int64(1<<62)), file(0, "", "c").set("length", int64(1<<62))))
	c.info(broken, "lengths that cancel out", multi(file(0, "", "a").set("length", int64(1000)), file(0, "", "b").set("length", int64(-999))).set("pieces", zeros(1, pieceLength)))
	c.info(broken, "zero with a piece", single("x", 0).set("pieces", zeros(1, pieceLength)))
	c.info(broken, "no piece", single("x", 1).set("pieces", ""))
	for _, n := range []int64{1, pieceLength - 1, pieceLength, pieceLength + 1, 3 * pieceLength} {
		c.info(sound, fmt.Sprintf("length %d", n), single(fmt.Sprintf("length-%d", n), n))
	}
}

func (c *collector) pieces() {
	for _, n := range []int64{0, 1, -1, -16384, 3, 16383, 16385, 24576, 1 << 13, 1 << 25, 1 << 31, 1 << 40, 1<<63 - 1, -1 << 63} {
		c.info(broken, fmt.Sprintf("piece length %d", n), single("x", 10).set("piece length", n))
	}
	for _, n := range []int64{16 << 10, 32 << 10, 1 << 20, 16 << 20} {
		c.info(sound, fmt.Sprintf("piece length %d", n), dict{"length", int64(100000), "name", "x", "piece length", n, "pieces", zeros(100000, n)})
	}
	good := zeros(3*pieceLength, pieceLength)
	for _, n := range []int{0, 1, 19, 20, 21, 40, 59, 61, 80, 6000} {
		c.info(broken, fmt.Sprintf("pieces of %d octets for 3", n), single("x", 3*pieceLength).set("pieces", strings.Repeat(good, 100)[:n]))
	}
	c.info(either, "pieces of another content", single("wrong", c.length()).set("pieces", strings.Repeat("x", 20)))
}

func (c *collector) numbers() {
	for _, s := range []string{"i-0e", "i00e", "i01e", "i+1e", "i 1e", "i1 e", "ie", "i-e", "i1.0e", "i1e1e", "i0x10e", "i--1e", "i1", "i99999999999999999999e", "i-99999999999999999999e",
		"i" + strings.Repeat("9", 100000) + "e", "i\x00e", "i\u0661e"} {
		for _, key := range []string{"length", "piece length", "private", "unknown"} {
			v := either
			if key == "length" || key == "piece length" {
				v = broken
				if s == "i01e" && key == "length" || (s == "i-0e" || s == "i00e") && key == "length" {
					v = either // 1, in another form: readers differ; 0 of one piece is wrong
				}
			}
			c.info(v, fmt.Sprintf("%s of %.12q, %d octets", key, s, len(s)), single("x", 1).set(key, raw(s)))
		}
	}
	for _, s := range []string{"01:x", "-1:x", "+1:x", "1 :x", "1x", "2147483648:x", "4294967297:x", "9223372036854775807:x", "99999999999999999999999:x", "1:", ":x", "1.0:x", strings.Repeat("1", 100000) + ":x"} {
		c.info(either, fmt.Sprintf("name as %.20q", s), single("x", c.length()).set("name", raw(s)))
	}
}

func (c *collector) structure() {
	good := dict{"info", single("x", c.length())}
	var b bytes.Buffer
	encode(&b, good)
	file := b.String()
	for what, text := range map[string]string{
		"nothing": "", "only e": "e", "only d": "d", "an empty dictionary": "de", "a number": "i1e", "a list": "l" + file + "e", "text": "hello", "HTML": "<!doctype html><title>404</title>",
		"zeros": strings.Repeat("\x00", 4096), "gzip": "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", "without its last e": file[:len(file)-1], "half": file[:len(file)/2],
		"with octets behind": file + "x", "twice": file + file, "with NUL behind": file + "\x00", "with a line's end behind": file + "\r\n", "with a BOM": "\ufeff" + file, "with a space in front": " " + file,
	} {
		v := broken
		if what == "with a line's end behind" {
			v = sound
		}
		c.whole(v, "file is "+what, raw(text))
	}
	for _, n := range []int{10, 20, 24, 25, 100, 10_000, 1_000_000} {
		v := broken
		if n <= 20 {
			v = either
		}
		c.info(v, fmt.Sprintf("lists %d deep", n), single("x", c.length()).set("x", raw(strings.Repeat("l", n)+strings.Repeat("e", n))))
		c.info(v, fmt.Sprintf("dictionaries %d deep", n), single("x", c.length()).set("x", raw(strings.Repeat("d1:a", n)+"0:"+strings.Repeat("e", n))))
		c.info(broken, fmt.Sprintf("lists %d deep, no end", n), raw(strings.Repeat("l", n)))
	}
	x := single("x", c.length())
	c.info(broken, "key twice", append(slices.Clone(x), "name", "y"))
	c.info(broken, "key twice, alike", append(slices.Clone(x), "name", "x"))
	c.info(either, "keys unsorted", dict{"pieces", x[7], "name", "unsorted", "length", x[1], "piece length", pieceLength})
	c.whole(broken, "info twice", dict{"info", x, "info", single("y", 1)})
	c.whole(either, "file's keys unsorted", dict{"url-list", "", "info", single("outer", c.length())})
	c.info(broken, "key is a number", raw("di1e1:xe"))
	c.info(broken, "key without value", raw("d6:lengthi1e4:namee"))
	for i := 0; i < len(x); i += 2 {
		c.info(broken, fmt.Sprintf("without %s", x[i]), x.without(x[i].(string)))
	}
	c.info(broken, "files and length", multi(dict{"length", int64(1), "path", list{"x"}}).set("length", 1))
}

// types gives each key each type.
func (c *collector) types() {
	values := map[string]any{"number": 7, "negative": -7, "text": "text", "empty text": "", "list": list{"a", 1, list{}}, "empty list": list{}, "dictionary": dict{"a", 1}}
	for what, v := range values {
		for _, key := range []string{"name", "length", "piece length", "pieces", "files", "private", "source", "name.utf-8", "meta version", "file tree", "attr", "symlink path", "sha1", "similar", "collections", "update-url", "md5sum"} {
			c.info(either, fmt.Sprintf("%s is a %s", key, what), single("typed", c.length()).set(key, v))
		}
		for _, key := range []string{"length", "path", "attr", "path.utf-8", "sha1", "symlink path", "mtime", "md5sum"} {
			c.info(either, fmt.Sprintf("a file's %s is a %s", key, what), multi(file(c.length(), "", "a"), file(3, "", "typed").set(key, v)))
		}
		for _, key := range []string{"announce", "announce-list", "url-list", "httpseeds", "nodes", "encoding", "comment", "created by", "creation date", "piece layers", "signatures", "info"} {
			v := v
			c.whole(either, fmt.Sprintf("file's %s is a %s", key, what), dict{"info", single("typed", c.length())}.set(key, v))
		}
		c.info(either, fmt.Sprintf("a path's component is a %s", what), multi(file(c.length(), "", "a").set("path", list{"a", v})))
		c.info(either, fmt.Sprintf("one of the files is a %s", what), multi(file(c.length(), "", "a")).set("files", list{v}))
		c.info(broken, fmt.Sprintf("info is a %s", what), v)
	}
	c.info(sound, "private", single("private", c.length()).set("private", 1))
}

func (c *collector) attributes() {
	for _, attr := range []string{"p", "x", "h", "l", "px", "hx", "lp", "z", "PXHL", "\x00", strings.Repeat("p", 100000)} {
		c.info(either, fmt.Sprintf("attr %.10q", attr), multi(file(c.length(), "", "a"), file(50, attr, "b")))
		c.info(either, fmt.Sprintf("attr %.10q of the only file", attr), single("attr", c.length()).set("attr", attr))
	}
	c.info(sound, "padding", multi(file(100, "", "a"), file(pieceLength-100, "p", ".pad", "16284"), file(c.length(), "", "b"), file(5, "p", ".pad", "5"), file(6, "p", ".pad", "5")))
	c.info(either, "nothing but padding", multi(file(c.length(), "p", ".pad", "1")))
	c.info(either, "padding of the name of a file", multi(file(c.length(), "", "a"), file(5, "p", "a")))
	for _, to := range []list{{}, {""}, {".."}, {"..", "..", "etc", "passwd"}, {"/etc/passwd"}, {"a"}, {"\x00"}, {1}, {"link"}} {
		c.info(either, fmt.Sprintf("symlink to %q", to), multi(file(c.length(), "", "a"), file(0, "l", "link").set("symlink path", to)))
	}
}

// utf8Keys are the names beside names that some programs write.
func (c *collector) utf8Keys() {
	c.info(sound, "name.utf-8", single("gr\xfc\xdfe.txt", c.length()).set("name.utf-8", "gr\u00fc\u00dfe.txt"))
	c.info(sound, "path.utf-8", multi(file(c.length(), "", "gr\xfc\xdfe.txt").set("path.utf-8", list{"gr\u00fc\u00dfe.txt"}), file(3, "", "b")))
	for _, n := range badNames[1:] {
		c.info(either, fmt.Sprintf("name.utf-8 %q", n), single("good", c.length()).set("name.utf-8", n))
		c.info(either, fmt.Sprintf("path.utf-8 %q", n), multi(file(c.length(), "", "good").set("path.utf-8", list{n})))
	}
	c.info(either, "path.utf-8 twice", multi(file(c.length(), "", "a").set("path.utf-8", list{"x"}), file(3, "", "b").set("path.utf-8", list{"x"})))
	c.info(either, "path.utf-8 longer", multi(file(c.length(), "", "a").set("path.utf-8", list{"x", "y", "z"})))
}

func (c *collector) addresses() {
	urls := []any{"http://10.255.255.1:1/", "file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1:25/x", "http://127.0.0.1:1/", "http://[::1]:1/", "http://0.0.0.0:1/", "http://169.254.169.254/latest/meta-data/", "http://localhost:1/",
		"http://2130706433/", "http://0x7f.1/", "http://user:secret@127.0.0.1:1/", "http:///x", "http://", "//x", "x", " http://127.0.0.1:1/a b ", "http://127.0.0.1:1/\r\nX: y", "http://127.0.0.1:99999/", "http://127.0.0.1:1/%zz",
		"udp://127.0.0.1:1/announce", "udp://", "javascript:alert(1)", strings.Repeat("http://x.example/", 10000), 5, list{}, dict{}}
	for _, u := range urls {
		c.whole(either, fmt.Sprintf("url-list %T %.30q", u, u), dict{"info", single("seeded", c.length()), "url-list", u})
		c.whole(either, fmt.Sprintf("announce %T %.30q", u, u), dict{"announce", u, "info", single("announced", c.length())})
	}
	c.whole(either, "url-list of all", dict{"info", single("seeded", c.length()), "url-list", list(urls)})
	c.whole(either, "announce-list of all", dict{"announce-list", list{list(urls), urls[0], list{list{urls[1]}}}, "info", single("announced", c.length())})
	many := list{}
	for i := range 20000 {
		many = append(many, list{"http://127.0.0.1:1/" + strconv.Itoa(i)})
	}
	c.whole(either, "announce-list of 20,000", dict{"announce-list", many, "info", single("announced", c.length())})
	for _, nodes := range []any{list{list{"127.0.0.1", 1}}, list{list{1, "x"}}, "nodes", list{dict{}}} {
		c.whole(either, fmt.Sprintf("nodes %v", nodes), dict{"info", single("nodes", c.length()), "nodes", nodes})
	}
}

func (c *collector) versions() {
	tree := dict{"a", dict{"", dict{"length", int64(100), "pieces root", strings.Repeat("r", 32)}}}
	c.info(broken, "version 2", dict{"file tree", tree, "meta version", 2, "name", "v2", "piece length", pieceLength})
	c.info(broken, "hybrid", single("a", 100).set("file tree", tree).set("meta version", 2))
	c.info(broken, "hybrid with an empty file", multi(file(100, "", "a"), file(0, "", "b")).set("file tree", append(slices.Clone(tree), "b", dict{"", dict{"length", 0}})).set("meta version", 2))
	c.info(broken, "version 3", single("a", 100).set("meta version", 3))
	c.info(either, "version 1, said so", single("v1", c.length()).set("meta version", 1))
	c.info(either, "version in text", single("vt", c.length()).set("meta version", "2"))
	c.info(either, "file tree without version", single("vf", c.length()).set("file tree", tree))
}

func (c *collector) sizes() {
	files := func(n int) list {
		out := make(list, n)
		for i := range out {
			out[i] = dict{"length", int64(0), "path", list{strconv.Itoa(i)}}
		}
		return out
	}
	empty := dict{"files", list{}, "name", "many", "piece length", pieceLength, "pieces", ""}
	c.info(sound, "10,000 files", empty.set("files", files(10_000)))
	c.info(broken, "10,001 files", empty.set("files", files(10_001)))
	c.info(broken, "1,000,000 files", empty.set("files", files(1_000_000)))
	c.info(broken, "65,537 pieces", dict{"length", int64(65537 * pieceLength), "name", "x", "piece length", pieceLength, "pieces", strings.Repeat("x", 65537*20)})
	c.info(broken, "300,000 numbers", single("x", c.length()).set("unknown", raw("l"+strings.Repeat("i1e", 300_000)+"e")))
	c.info(broken, "4 MiB of unknown", single("x", c.length()).set("unknown", strings.Repeat("u", 4<<20)))
	c.info(either, "1 MiB of unknown", single("big", c.length()).set("unknown", strings.Repeat("u", 1<<20)))
	c.whole(broken, "8 MiB beside info", dict{"comment", strings.Repeat("c", 8<<20), "info", single("x", c.length())})
}
