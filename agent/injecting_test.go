package agent

import (
	"regexp"
	"strings"
	"testing"

	"github.com/litfass/litfass/article"
)

const plain = "From: Ann <ann@home.example>\nNewsgroups: a.open\nSubject: hello\n\nbody\n.dot\n"

func with(lines string) string { return lines + "\n" + plain }

func TestInjectFillsIn(t *testing.T) {
	a := node(t)
	r, err := a.Inject(t.Context(), draft(t, plain), as("ann"))
	if err != nil {
		t.Fatal(err)
	}
	art := open(t, a, r.ID)
	if !regexp.MustCompile(`^<[0-9a-z]{20}@here\.example>$`).MatchString(string(r.ID)) {
		t.Errorf("id %s", r.ID)
	}
	for name, want := range map[string]string{
		"Path":           "here.example!.POSTED.127.0.0.1!not-for-mail",
		"Date":           "Mon, 23 Nov 2026 12:00:00 +0000",
		"Injection-Date": "Mon, 23 Nov 2026 12:00:00 +0000",
		"Injection-Info": `here.example; posting-account="ann"; posting-host="127.0.0.1"`,
	} {
		if got := art.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	key, _ := a.cancelKey("ann", r.ID)
	if !opens(art.Get("Cancel-Lock"), "sha256:"+key) {
		t.Errorf("Cancel-Lock %q is not ann's", art.Get("Cancel-Lock"))
	}
	if got := string(art.Body()); got != "body\r\n.dot\r\n" {
		t.Errorf("body %q", got)
	}
}

func TestInjectKeepsDatedWithoutInjectionDate(t *testing.T) {
	a := node(t)
	r, err := a.Inject(t.Context(), draft(t, with("Message-ID: <mine@home.example>\nDate: Mon, 23 Nov 2026 11:00:00 +0000\nPath: home.example!ann\nXref: other a.open:1\nX-Trace: y\nNNTP-Posting-Host: victim.example")), reader)
	if err != nil {
		t.Fatal(err)
	}
	art := open(t, a, "<mine@home.example>")
	if r.ID != "<mine@home.example>" || art.Get("Injection-Date") != "" || art.Has(article.HasXref) || art.Get("X-Trace")+art.Get("NNTP-Posting-Host") != "" {
		t.Errorf("%s:\n%s", r.ID, art.Head())
	}
	if p := art.Get("Path"); p != "here.example!.POSTED.127.0.0.1!home.example!ann" {
		t.Errorf("Path %q", p)
	}
}

func TestInjectRules(t *testing.T) {
	long := strings.Repeat("x", 999)
	for _, c := range []struct {
		name, text string
		o          Origin
		want       string
	}{
		{"plain", plain, reader, "ok"},
		{"banned words none", with("Keywords: a"), reader, "ok"},
		{"no from", strings.Replace(plain, "From: Ann <ann@home.example>\n", "", 1), reader, "missing"},
		{"no subject", strings.Replace(plain, "Subject: hello\n", "", 1), reader, "missing"},
		{"no groups", strings.Replace(plain, "Newsgroups: a.open\n", "", 1), reader, "missing"},
		{"from without address", strings.Replace(plain, "Ann <ann@home.example>", "Ann", 1), reader, "from"},
		{"twice", with("Subject: again"), reader, "twice"},
		{"twice in other case", with("SUBJECT: again"), reader, "twice"},
		{"unknown twice", with("X-A: 1\nX-A: 2"), reader, "ok"},
		{"empty field", with("Organization: "), reader, "blank"},
		{"blank fold", with("Organization: x\n  \n y"), reader, "blank"},
		{"long field line", with("X-Long: " + long), reader, "long-line"},
		{"long body line", plain + long + "\n", reader, "long-line"},
		{"998 octets", plain + long[:998] + "\n", reader, "ok"},
		{"dot and 998", plain + "." + long[:997] + "\n", reader, "ok"},
		{"bad name", with("Bad Name: x"), reader, "field-name"},
		{"injection-info", with("Injection-Info: evil"), reader, "injected-before"},
		{"posted", with("Path: x!.POSTED!y"), reader, "injected-before"},
		{"our path", with("Path: here.example!y"), reader, "path-loop"},
		{"injection-date alone", with("Injection-Date: Mon, 23 Nov 2026 11:00:00 +0000"), reader, "injection-date"},
		{"injection-date whole", with("Injection-Date: Mon, 23 Nov 2026 11:00:00 +0000\nDate: Mon, 23 Nov 2026 11:00:00 +0000\nMessage-ID: <a@b>"), reader, "ok"},
		{"bad id", with("Message-ID: a@b"), reader, "bad-id"},
		{"id with two @", with("Message-ID: <a@b@c.example>"), reader, "bad-id"},
		{"id with two dots", with("Message-ID: <a..b@c.example>"), reader, "bad-id"},
		{"supersedes an id with two @", with("Supersedes: <a@b@c.example>"), reader, "ok"},
		{"bad date", with("Date: yesterday"), reader, "date"},
		{"date of RFC 3339", with("Date: 2026-11-23T11:00:00Z"), reader, "date"},
		{"date of asctime", with("Date: Mon Nov 23 11:00:00 2026"), reader, "date"},
		{"date by an older rule", with("Date: 23 Nov 26 11:00 GMT"), reader, "ok"},
		{"ahead", with("Date: Tue, 24 Nov 2026 12:00:01 +0000"), reader, "ahead"},
		{"ahead allowed", with("Date: Tue, 24 Nov 2026 11:59:00 +0000"), reader, "ok"},
		{"too old", with("Date: Mon, 23 Nov 2020 12:00:00 +0000"), reader, "too-old"},
		{"bad supersedes", with("Supersedes: x"), reader, "bad-id"},
		{"supersedes and control", with("Supersedes: <x@y>\nControl: cancel <x@y>"), reader, "control"},
		{"cancel", with("Control: cancel <x@y>"), reader, "ok"},
		{"cancel without id", with("Control: cancel"), reader, "control"},
		{"obsolete control", with("Control: sendsys"), reader, "control"},
		{"newgroup anonymous", with("Control: newgroup a.new"), reader, "login"},
		{"newgroup account", with("Control: newgroup a.new"), as("ann"), "no-create"},
		{"newgroup admin", with("Control: newgroup a.new"), as("root"), "ok"},
		{"newgroup reserved", with("Control: newgroup example.new"), as("root"), "reserved-name"},
		{"expires", with("Expires: soon"), reader, "expires"},
		{"expires past", with("Expires: Mon, 1 Jan 1990 00:00:00 +0000"), reader, "ok"},
		{"followup poster", with("Followup-To: poster"), reader, "ok"},
		{"followup bad", with("Followup-To: a..b"), reader, "followup-to"},
		{"distribution", with("Distribution: world, local"), reader, "ok"},
		{"distribution bad", with("Distribution: a b"), reader, "distribution"},
		{"references bad", with("References: nothing"), reader, "references"},
		{"unknown group", strings.Replace(plain, "a.open", "a.absent", 1), reader, "no-group"},
		{"one of two unknown", strings.Replace(plain, "a.open", "a.absent,a.open", 1), reader, "ok"},
		{"bad group", strings.Replace(plain, "a.open", "a.open,b!", 1), reader, "syntax"},
		{"many groups", strings.Replace(plain, "a.open", "a.open"+strings.Repeat(",a.g", 1)+manyGroups(20), 1), reader, "too-large"},
		{"no posts here", strings.Replace(plain, "a.open", "a.none", 1), reader, "no-local-posts"},
		{"operator may", strings.Replace(plain, "a.open", "a.none", 1), Origin{Door: "control"}, "ok"},
		{"not trusted", plain, Origin{Door: "nntp", Addr: reader.Addr}, "login"},
		{"web reads only", plain, Origin{Door: "web", Trusted: true}, "login"},
		{"account elsewhere", plain, Origin{Door: "web", Account: "ann"}, "ok"},
		{"pattern", plain, as("few"), "no-post"},
		{"pattern fits", strings.Replace(plain, "a.open", "a.two", 1), as("few"), "ok"},
		{"account gone", plain, as("nobody"), "no-account"},
		{"approved by nobody", with("Approved: me@x.example"), reader, "approved"},
		{"approved in moderated", strings.Replace(with("Approved: me@x.example"), "a.open", "a.mod", 1), as("ann"), "approved"},
		{"approved by moderator", strings.Replace(with("Approved: me@x.example"), "a.open", "a.mod", 1), as("mod"), "ok"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := node(t)
			_, err := a.Inject(t.Context(), draft(t, c.text), c.o)
			if got := code(err); got != c.want {
				t.Errorf("%s (%v), want %s", got, err, c.want)
			}
		})
	}
}

func manyGroups(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(",a.x" + strings.Repeat("y", i))
	}
	return b.String()
}

func TestInjectTwice(t *testing.T) {
	a := node(t)
	text := with("Message-ID: <one@home.example>")
	if _, err := a.Inject(t.Context(), draft(t, text), reader); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Inject(t.Context(), draft(t, text), reader); code(err) != "duplicate" {
		t.Errorf("%v", err)
	}
	if n := a.Stats()[Count{"inject", "duplicate"}]; n != 1 {
		t.Errorf("counted %d", n)
	}
}
