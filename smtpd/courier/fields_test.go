package courier

import (
	"mime"
	"net/mail"
	"strings"
	"testing"

	"github.com/litfass/litfass/article/content"
	"github.com/litfass/litfass/spool"
)

// names are descriptions of groups and names of people that a field has to carry.
var names = []string{"", "Radio", "Talk; of the mesh", `He said "yes"`, `back\slash`, "<tags> & more", "a, b, and c", "=?utf-8?q?looks_encoded?=", "Grüße aus Köln, (sehr) schöne; \"Dinge\"",
	"日本語のグループ", strings.Repeat("long words ", 50), strings.Repeat("x", 500), strings.Repeat("ü", 250), "control\x00\x07\x1b[31m", "tab\tand\r\nbreak: x", "Dr. Müller", "a@b", "50% = half?", "_under_ score", "\xff\xfe", "A. Dot"}

// FuzzMailbox: whatever a name is, readers see it as it is, but for what cannot be seen
// and what is too long, beside the right address; the field is ASCII, in short lines.
func FuzzMailbox(f *testing.F) {
	for _, n := range names {
		f.Add(n)
	}
	f.Fuzz(func(t *testing.T, name string) {
		want := readable(name)
		if r := []rune(want); len(r) > maxPhrase {
			want = strings.TrimSpace(string(r[:maxPhrase])) + "…"
		}
		checkField(t, "From", field("From", mailbox(readable(name), "a@b.example")), func(value string) string {
			a, err := mail.ParseAddress(value)
			if err != nil || a.Address != "a@b.example" {
				t.Fatalf("%q: %q: %v", name, value, err)
			}
			return a.Name
		}, want)
		checkField(t, "Subject", field("Subject", prose(name)), func(value string) string {
			s, err := new(mime.WordDecoder).DecodeHeader(value)
			if err != nil {
				t.Fatalf("%q: %q: %v", name, value, err)
			}
			return s
		}, readable(name))
	})
}

// checkField reads a field as others do.
func checkField(t *testing.T, name, got string, read func(string) string, want string) {
	t.Helper()
	for line := range strings.SplitSeq(strings.TrimSuffix(got, "\r\n"), "\r\n") {
		if len(line) > 300 || over127([]byte(line)) || strings.ContainsAny(line, "\r\n\x00") {
			t.Errorf("line %q of %q", line, got)
		}
	}
	value := strings.ReplaceAll(strings.TrimPrefix(strings.TrimSuffix(got, "\r\n"), name+": "), "\r\n", "")
	if s := read(value); s != want {
		t.Errorf("%q: read as %q, want %q", got, s, want)
	}
}

// TestListFields: RFC 2919 §2 and RFC 2369 §2, with groups whose names and descriptions
// are not plain.
func TestListFields(t *testing.T) {
	c := New(Config{Domain: "box.example", URL: "https://box.example"})
	for _, d := range names {
		h := string(c.listFields(spool.GroupInfo{Name: "comp.lang.c++", Description: d}, "<1@a>"))
		m, err := mail.ReadMessage(strings.NewReader(h + "\r\n"))
		if err != nil {
			t.Fatalf("%q: %v", d, err)
		}
		id := m.Header.Get("List-Id")
		if !strings.HasSuffix(id, "<comp.lang.c++.box.example>") || m.Header.Get("List-Post") != "<mailto:comp.lang.c++@box.example>" || len(m.Header) != 6 {
			t.Errorf("%q:\n%s", d, h)
		}
		// A description that says nothing leaves the id alone.
		if what := readable(content.ToUTF8("utf-8", []byte(d))); what == "" && id != "<comp.lang.c++.box.example>" {
			t.Errorf("%q: %q", d, id)
		} else if what != "" {
			a, err := mail.ParseAddress(strings.Replace(id, "<comp.lang.c++.box.example>", "<a@b.example>", 1))
			if err != nil || !strings.HasPrefix(what, strings.TrimSuffix(a.Name, "…")) {
				t.Errorf("%q: %q, %v", d, id, err)
			}
		}
	}
	h := string(c.listFields(spool.GroupInfo{Name: "mesh.größe", Status: spool.PostNone}, ""))
	for _, want := range []string{"List-Id: <mesh.xn--gre-6ka8i.box.example>\r\n", "List-Post: NO\r\n", "List-Help: <mailto:mesh.gr%C3%B6%C3%9Fe-help@box.example>\r\n"} {
		if !strings.Contains(h, want) {
			t.Errorf("%q is not in\n%s", want, h)
		}
	}
}

func TestInASCII(t *testing.T) {
	for _, c := range [][3]string{
		{"From", "Alice <a@a.example>", "Alice <a@a.example>"},
		{"From", "Jörg Müller <j@a.example>", "=?utf-8?q?J=C3=B6rg_M=C3=BCller?= <j@a.example>"},
		{"From", `"Müller, J." <j@a.example>, b@b.example`, "=?utf-8?q?M=C3=BCller=2C_J=2E?= <j@a.example>, b@b.example"},
		{"From", "j@a.example (Jörg)", "=?utf-8?q?J=C3=B6rg?= <j@a.example>"},
		{"Subject", "Re: Grüße", "=?utf-8?q?Re=3A_Gr=C3=BC=C3=9Fe?="},
		{"Subject", "=?utf-8?q?Gr=C3=BC?=", "=?utf-8?q?Gr=C3=BC?="},
		{"Subject", "日本語のメール", "=?utf-8?b?5pel5pys6Kqe44Gu44Oh44O844Or?="},
	} {
		if got := inASCII(c[0], c[1]); got != c[2] {
			t.Errorf("%s: %s\ngot  %s\nwant %s", c[0], c[1], got, c[2])
		}
	}
}
