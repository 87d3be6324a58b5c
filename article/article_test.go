package article

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

const small = "Path: a!not-for-mail\r\nFrom: Ann <ann@a.example>\r\nNewsgroups: misc.test\r\n" +
	"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n and a fold\r\nMessage-ID: <1@a.example>\r\nDate: Mon, 05 Apr 1993 12:00:00 +0000\r\n"

func TestParse(t *testing.T) {
	for _, c := range []struct{ name, wire, want string }{
		{"good", small + "\r\nhello\r\n..dot\r\n.\r\n", ""},
		{"empty body", small + "\r\n.\r\n", ""},
		{"no end", small + "\r\nhello\r\n", "single dot"},
		{"no header", "\r\nhello\r\n.\r\n", "no header"},
		{"no blank line", small + ".\r\n", "no empty line"},
		{"a dot in the header", small + ".\r\nX: y\r\n\r\n.\r\n", "begins with"},
		{"LF alone ends a field", "X: ab\nY: c\r\n\r\n.\r\n", "CR or LF alone"},
		{"LF alone", "\n\r\n.\r\n", "CR or LF alone"},
		{"octet and LF", "a\n\r\n.\r\n", "CR or LF alone"},
		{"bare CR in a field", "X: a\rb\r\n\r\n.\r\n", "CR without LF"},
		{"NUL in a field", "X: a\x00b\r\n\r\n.\r\n", "NUL"},
		{"NUL in the body", small + "\r\na\x00\r\n.\r\n", "NUL"},
		{"bare CR in the body", small + "\r\na\rb\r\n.\r\n", "alone"},
		{"bare LF in the body", small + "\r\na\nb\r\n.\r\n", "alone"},
		{"undoubled dot", small + "\r\n.a\r\n.\r\n", "not doubled"},
		{"end within", small + "\r\na\r\n.\r\nb\r\n.\r\n", "not doubled"},
		{"twice", small + "Subject: b\r\n\r\n.\r\n", "occurs twice"},
		{"no colon", "Subject\r\n\r\n.\r\n", "Name: content"},
		{"blank in a name", "Sub ject: x\r\n\r\n.\r\n", "octet 0x20"},
		{"starts with a fold", " x\r\nSubject: y\r\n\r\n.\r\n", "Name: content"},
	} {
		_, err := Parse([]byte(c.wire), Limits{})
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: got %v, want an error with %q", c.name, err, c.want)
		}
	}
}

func TestParseLimits(t *testing.T) {
	wire := []byte(small + "\r\nhello\r\n.\r\n")
	for _, lim := range []Limits{{Article: 100}, {Header: 50}, {Field: 20}, {Line: 4}} {
		if _, err := Parse(wire, lim); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%+v: %v", lim, err)
		}
	}
}

func TestOverview(t *testing.T) {
	a, err := Parse([]byte(small+"Content-Type: text/plain\r\nReferences: <a@b>\r\n\t<c@d>\r\n\r\n..x\r\ny\r\n.\r\n"), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	o := a.Overview()
	if o.Lines != 2 || o.Bytes != len(a.Octets()) || o.References != "<a@b> <c@d>" || o.ID != "<1@a.example>" || !a.Has(HasMIME) {
		t.Errorf("%+v", o)
	}
	if string(a.Body()) != ".x\r\ny\r\n" || a.Get("subject") != "=?utf-8?q?Gr=C3=BC=C3=9Fe?= and a fold" {
		t.Errorf("body %q subject %q", a.Body(), a.Get("Subject"))
	}
}

func TestWith(t *testing.T) {
	a, _ := Parse([]byte(small+"Xref: a misc.test:1\r\n..odd: y\r\n\r\n..x\r\n.\r\n"), Limits{})
	b := a.With(Edit{PrependPath: "box!", Drop: []string{"xref", ".odd"}, Add: [][2]string{{"Injection-Info", "box"}}})
	want := strings.Replace(small, "Path: a!", "Path: box!a!", 1) + "Injection-Info: box\r\n\r\n..x\r\n.\r\n"
	if string(b.Wire()) != want {
		t.Errorf("got %q", b.Wire())
	}
	if string(a.With(Edit{}).Wire()) != string(a.Wire()) {
		t.Error("an empty edit changes octets")
	}
}

func TestBuildRefusesInjectedLines(t *testing.T) {
	for _, v := range []string{"x\r\nEvil: y", "x\r\n\r\nbody", "x\nEvil: y", "x\ry", "x\x00", "x\r\n", "x\r\n."} {
		d := Draft{Header: [][2]string{{"Subject", v}, {"From", "a"}}, Body: bytes.NewReader(nil)}
		if a, err := d.Build(Limits{}); err == nil {
			t.Errorf("%q: built %q", v, a.Wire())
		}
	}
	for _, n := range []string{"", "A: b\r\nC", "A B", "A:"} {
		d := Draft{Header: [][2]string{{n, "v"}}, Body: bytes.NewReader(nil)}
		if a, err := d.Build(Limits{}); err == nil {
			t.Errorf("name %q: built %q", n, a.Wire())
		}
	}
	d := Draft{Header: [][2]string{{"Subject", "a\r\n b"}, {".x", "y"}}, Body: strings.NewReader(".a\r\nb")}
	a, err := d.Build(Limits{})
	if err != nil || string(a.Octets()) != "Subject: a\r\n b\r\n.x: y\r\n\r\n.a\r\nb\r\n" {
		t.Errorf("%v %q", err, a.Octets())
	}
}

func TestDraftRoundTrip(t *testing.T) {
	a, _ := Parse([]byte(small+"\r\n..x\r\n.\r\n"), Limits{})
	b, err := NewDraft(a).Build(Limits{})
	if err != nil || string(b.Wire()) != string(a.Wire()) {
		t.Errorf("%v %q", err, b.Wire())
	}
	h, err := ParseHeader(a.Head(), Limits{})
	if err != nil || !slices.Equal(h, NewDraft(a).Header) {
		t.Errorf("%v %q", err, h)
	}
	d := NewDraft(a)
	d.Set("subject", "new")
	d.Set("X-New", "1")
	d.Del("PATH")
	if d.Get("Subject") != "new" || d.Get("x-new") != "1" || d.Get("Path") != "" {
		t.Errorf("%q", d.Header)
	}
}

func TestNames(t *testing.T) {
	for _, s := range []string{"<a@b>", "<a@[::1]>", "<a@b@c>", "<1993Apr5.1@x.y>"} {
		if id, err := ParseID(s); err != nil || string(id) != s || "<"+id.Bare()+">" != s {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, s := range []string{"", "<>", "a@b", "<ab>", "<@b>", "<a@>", "<a @b>", "<a@b>x", "<<a@b>", "<ä@b>", "<" + strings.Repeat("a", 250) + "@b>"} {
		if _, err := ParseID(s); err == nil {
			t.Errorf("%q is taken", s)
		}
	}
	for s, ok := range map[string]bool{"misc.test": true, "a": true, "de.comp.os.unix+x_y-z": true, "grün.x": true, "日本.e\u0301": true,
		"mesh.\u202etset": false, "mesh.te\u200bst": false, "a\u0085b": false, "a\u00a0b": false, "a\ufffdb": false, "a\xffb": false, "\ufeffa": false,
		"": false, ".a": false, "a.": false, "a..b": false, "a b": false, "a/b": false, "a,b": false, "a*": false} {
		if _, err := ParseGroup(s); (err == nil) != ok {
			t.Errorf("group %q: %v", s, err)
		}
	}
	for s, want := range map[Group]bool{"example.a": true, "a.example": false, "to.x": true, "a.all": true, "junk": true, "poster": true, "control": true, "a.ctl.b": true, "misc.test": false} {
		if s.Reserved() != want {
			t.Errorf("%s: reserved is %v", s, !want)
		}
	}
	if g, err := ParseGroups("a.b, c.d ,a.b,", 0); err != nil || !slices.Equal(g, []Group{"a.b", "c.d"}) {
		t.Errorf("%v %v", g, err)
	}
	if _, err := ParseGroups("a.b,c d", 0); err == nil {
		t.Error("strict takes a bad name")
	}
	if g, err := LenientGroups("a.b,c d", 0); err != nil || len(g) != 1 {
		t.Errorf("%v %v", g, err)
	}
	for in, want := range map[string]string{"a;b, ..": `"a;b" holds the octet`, " , ": "names no group"} {
		if _, err := LenientGroups(in, 0); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", in, err, want)
		}
	}
	if _, err := ParseGroups("a,b,c", 2); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
	if r := ParseReferences("<a@b> junk <c d@e> <f@g><h@i> <un"); !slices.Equal(r, []ID{"<a@b>", "<f@g>", "<h@i>"}) {
		t.Errorf("%q", r)
	}
	if h := PathHops("a!!b.example!.POSTED.x! c !not-for-mail"); !slices.Equal(h, []string{"a", "b.example", ".POSTED.x", "c", "not-for-mail"}) {
		t.Errorf("%q", h)
	}
	if !InPath("a!B.example!x", "b.EXAMPLE") || InPath("a!b", "b") {
		t.Error("InPath")
	}
}

func TestParseDate(t *testing.T) {
	for s, want := range map[string]string{
		"Mon, 05 Apr 1993 12:00:00 +0000":          "1993-04-05T12:00:00Z",
		"14 Apr 93 12:10:28":                       "1993-04-14T12:10:28Z",
		"14 Apr 93 12:10":                          "1993-04-14T12:10:00Z",
		"Thursday, 15 Apr 1993 11:08:26 EDT":       "1993-04-15T15:08:26Z",
		"Thursday, 15-Apr-93 11:08:26 GMT":         "1993-04-15T11:08:26Z",
		"Thu, 15 Apr 1993 11:08:26 PST":            "1993-04-15T19:08:26Z",
		"15 Apr 1993 11:08:26 MET":                 "1993-04-15T10:08:26Z",
		"15 Apr 1993 11:08:26 MET DST":             "1993-04-15T09:08:26Z",
		"Tue,  6 Apr 93 23:11:22 -0500":            "1993-04-07T04:11:22Z",
		"Fri, 16 Apr 1993 03:41:30 GMT (was late)": "1993-04-16T03:41:30Z",
		"Sun Apr 18 10:00:00 1993":                 "1993-04-18T10:00:00Z",
		"Sun Apr 18 10:00:00 CDT 1993":             "1993-04-18T15:00:00Z",
		"Sun, 18 Apr 1993 10:00:00 UNDEFINED":      "1993-04-18T10:00:00Z",
		"1993-04-18T10:00:00+02:00":                "1993-04-18T08:00:00Z",
		"Sun, 18 Apr 1993 10:00:00":                "1993-04-18T10:00:00Z",
		"Wed, 21 Apr 1993 08:32:37 +02":            "1993-04-21T06:32:37Z",
		"25 Apr 93 00:02:34 GMT+12":                "1993-04-24T12:02:34Z",
		"19 Apr 93 16:15:19 +3000":                 "1993-04-19T16:15:19Z",
		"Sun, 18 Apr 2021 10:00 +0200":             "2021-04-18T08:00:00Z",
	} {
		if got, err := ParseDate(s); err != nil || got.Format(time.RFC3339) != want {
			t.Errorf("%q: %v %v, want %s", s, got.Format(time.RFC3339), err, want)
		}
	}
	for _, s := range []string{"", "yesterday", "32 Jan 2020 00:00:00 +0000", "Mon", strings.Repeat("1", 200), "1 Foo 1993 10:00:00"} {
		if d, err := ParseDate(s); err == nil {
			t.Errorf("%q is read as %v", s, d)
		}
	}
}

// TestProper: what is read of others is more than what may be written.
func TestProper(t *testing.T) {
	for s, want := range map[string]bool{
		"Mon, 05 Apr 1993 12:00:00 +0000": true, "5 Apr 1993 12:00 GMT": true, "Tue,  6 Apr 93 23:11:22 -0500": true, "Thu,15 Apr 1993 11:08:26 PST": true,
		"Fri, 16 Apr 1993 03:41:30 GMT (was late)": true, "(x) Fri, 16 Apr 1993 03:41:60 +0000": true,
		"1993-04-18T10:00:00Z": false, "Sun Apr 18 10:00:00 1993": false, "Sun Apr 18 10:00:00 CDT 1993": false, "Thu, 15-Apr-93 11:08:26 GMT": false,
		"Thursday, 15 Apr 1993 11:08:26 EDT": false, "15 April 1993 11:08:26 +0000": false, "Sun, 18 Apr 1993 10:00:00": false, "15 Apr 1993 11:08:26 MET DST": false,
		"Wed, 21 Apr 1993 08:32:37 +02": false, "Apr 18, 1993 10:00:00 +0000": false, "": false, "yesterday": false, "31 Feb 2026 10:00:00 +0000": false,
	} {
		if got := ProperDate(s); got != want {
			t.Errorf("date %q: %v", s, got)
		}
	}
	for s, want := range map[ID]bool{
		"<a@b>": true, "<a.b+c=d/e@b.example>": true, "<a@[::1]>": true, "<1993Apr5.1@x.y>": true, "<{a}$b!@x>": true,
		"<a@b@c>": false, "<a..b@c>": false, "<.a@b>": false, "<a@b.>": false, "<a:b@c>": false, `<"a"@b>`: false, "<a@[b>": false, "<a@b]>": false, "<a@[b[c]>": false, "<a,b@c>": false, "<a(b)@c>": false, "<ab>": false, "": false,
	} {
		if got := s.Proper(); got != want {
			t.Errorf("id %q: %v", s, got)
		}
	}
}

func TestNormalize(t *testing.T) {
	for in, want := range map[string]string{
		"A: b\n\n.x\ny":     "A: b\r\n\r\n..x\r\ny\r\n.\r\n",
		"A: b\r\n\r\nx\r\n": "A: b\r\n\r\nx\r\n.\r\n",
		"A: b\r\n\nmixed\n": "A: b\r\n\r\nmixed\r\n.\r\n",
	} {
		if got, err := Normalize([]byte(in), Limits{}); err != nil || string(got) != want {
			t.Errorf("%q: %q %v", in, got, err)
		}
	}
	if _, err := Normalize([]byte("a\rb\n"), Limits{}); err == nil {
		t.Error("bare CR is taken")
	}
}

// The laws of Parse: what parses is kept octet for octet; text and wire form lead
// to each other; what the overview counts is true; a draft of it builds it again.
func FuzzParse(f *testing.F) {
	f.Add([]byte(small + "\r\n..x\r\nhello\r\n.\r\n"))
	f.Add([]byte("..a: b\r\n\tc\r\n\r\n.\r\n"))
	f.Add([]byte("X: ab\nY: c\r\n\r\n.\r\n"))
	f.Add([]byte("\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		a, err := Parse(slices.Clone(in), Limits{})
		if err != nil {
			if a != nil {
				t.Fatal("an error and an article")
			}
			var s *SyntaxError
			var l *tooLarge
			if !errors.As(err, &s) && !errors.As(err, &l) {
				t.Fatalf("error of type %T", err)
			}
			return
		}
		if !bytes.Equal(a.Wire(), in) {
			t.Fatal("octets changed")
		}
		back, err := Normalize(a.Octets(), Limits{Article: 2 << 20})
		if err != nil || !bytes.Equal(back, in) {
			t.Fatalf("text and back: %v\n%q\n%q", err, back, in)
		}
		if o := a.Overview(); o.Bytes != len(a.Octets()) || o.Lines != bytes.Count(a.Body(), []byte("\n")) {
			t.Fatalf("counts %d %d", o.Bytes, o.Lines)
		}
		if s := Stored(in, a.HeadLen(), a.Overview()); !bytes.Equal(s.Body(), a.Body()) || !bytes.Equal(s.Head(), a.Head()) {
			t.Fatal("Stored differs")
		}
		if h, err := ParseHeader(a.Head(), Limits{}); err != nil || len(h) == 0 {
			t.Fatalf("its header alone: %v", err)
		}
		b, err := NewDraft(a).Build(Limits{Article: 2 << 20, Header: 1 << 20, Field: 1 << 20})
		if err != nil {
			t.Fatalf("its draft: %v", err)
		}
		if !bytes.Equal(b.Body(), a.Body()) {
			t.Fatal("its draft has another body")
		}
	})
}

// The law of With: fields not named stay, in order and octet for octet; the body does.
func FuzzWith(f *testing.F) {
	f.Add([]byte(small+"Xref: a b:1\r\n\r\n..x\r\n.\r\n"), "Xref", "box!", "v")
	f.Add([]byte("path:\r\n a!b\r\n..X: 1\r\n\r\n.\r\n"), ".x", "", "")
	f.Fuzz(func(t *testing.T, in []byte, drop, path, value string) {
		a, err := Parse(in, Limits{})
		if err != nil || strings.ContainsAny(path+value, "\r\n\x00") || strings.EqualFold(drop, "Path") {
			return
		}
		var want []byte
		left := 0
		for n, v := range a.Fields() {
			if strings.EqualFold(n, drop) {
				continue
			}
			if left++; path != "" && strings.EqualFold(n, "Path") {
				v = []byte(" " + path + string(bytes.TrimLeft(v, " \t")))
			}
			want = append(append(append(append(want, n...), ':'), v...), "\r\n"...)
		}
		want = append(want, "X-Added: "+value+"\r\n\r\n"...)
		want = append(want, a.Body()...)
		if got := a.With(Edit{PrependPath: path, Drop: []string{drop}, Add: [][2]string{{"X-Added", value}}}).Octets(); !bytes.Equal(got, want) {
			t.Fatalf("got  %q\nwant %q", got, want)
		}
	})
}

// Any field content that Build takes comes back as it was given, as one field.
func FuzzBuild(f *testing.F) {
	f.Add("Subject", "x\r\nEvil: y", []byte(".a\r\nb"))
	f.Add("X", "a\r\n b", []byte(""))
	f.Fuzz(func(t *testing.T, name, value string, body []byte) {
		d := Draft{Header: [][2]string{{name, value}}, Body: bytes.NewReader(body)}
		a, err := d.Build(Limits{})
		if err != nil {
			return
		}
		n := 0
		for gn, gv := range a.Fields() {
			if n++; gn != name || string(bytes.TrimLeft(gv, " \t")) != strings.TrimLeft(value, " \t") {
				t.Fatalf("field %q: %q", gn, gv)
			}
		}
		if n != 1 {
			t.Fatalf("%d fields of one", n)
		}
		if got := a.Body(); !bytes.Equal(bytes.TrimSuffix(got, []byte("\r\n")), bytes.TrimSuffix(body, []byte("\r\n"))) {
			t.Fatalf("body %q of %q", got, body)
		}
	})
}

func FuzzStuff(f *testing.F) {
	f.Add([]byte(".a\r\n..\r\nb"))
	f.Fuzz(func(t *testing.T, in []byte) {
		s := Stuff(nil, in)
		if !bytes.Equal(Unstuff(s), in) {
			t.Fatalf("%q becomes %q", in, Unstuff(s))
		}
		if bytes.Contains(s, []byte("\n.\r\n")) {
			t.Fatal("an end within")
		}
	})
}

// What a name's parser takes is written back as it came, and read again.
func FuzzNames(f *testing.F) {
	for _, s := range []string{"<a@b>", "a.b,c.d", "x!y!z", "14 Apr 93 12:10:28", "Thursday, 15 Apr 1993 11:08:26 EDT"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if id, err := ParseID(s); err == nil && (string(id) != s || strings.ContainsAny(s, " \r\n\t")) {
			t.Fatalf("id %q", id)
		}
		if g, err := ParseGroup(s); err == nil && (string(g) != s || strings.ContainsAny(s, " ,/*!\r\n")) {
			t.Fatalf("group %q", g)
		}
		if g, err := LenientGroups(s, 0); err == nil {
			for _, x := range g {
				if _, err := ParseGroup(string(x)); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, id := range ParseReferences(s) {
			if !strings.Contains(s, string(id)) {
				t.Fatalf("%q not in %q", id, s)
			}
		}
		PathHops(s)
		if d, err := ParseDate(s); err == nil {
			if y := d.Year(); y >= 0 && y <= 9999 {
				if back, err := ParseDate(FormatDate(d)); err != nil || !back.Equal(d.Truncate(time.Second)) {
					t.Fatalf("%q is %v, back %v %v", s, d, back, err)
				}
			}
		}
	})
}

var _ Body = (*bytes.Reader)(nil)
var _ io.ReadSeeker = Body(nil)

// BenchmarkTaken is what a relaying agent asks of each article: 2.5 kB, 60 lines.
func BenchmarkTaken(b *testing.B) {
	wire := []byte("Path: a.example!b.example!not-for-mail\r\nFrom: A Person <a@b.example>\r\nNewsgroups: mesh.talk,mesh.test\r\nSubject: Re: a subject of some length\r\n" +
		"Date: Mon, 02 Mar 2026 10:00:00 +0000\r\nMessage-ID: <1.2.3@b.example>\r\nReferences: <1@b.example> <2@b.example> <3@b.example>\r\n" +
		"Organization: none\r\nUser-Agent: bench/1\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=UTF-8\r\n\r\n" +
		strings.Repeat("a line of a body as people write it\r\n", 60) + ".\r\n")
	b.SetBytes(int64(len(wire)))
	b.ReportAllocs()
	for b.Loop() {
		a, err := Parse(wire, Limits{})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := a.Check(0); err != nil {
			b.Fatal(err)
		}
		if _, err := ParseDate(a.Overview().Date); err != nil || a.Get("Path") == "" {
			b.Fatal(err)
		}
		a.With(Edit{PrependPath: "here.example!!"})
	}
}
