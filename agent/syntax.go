package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/mail"
	"strings"
	"time"

	"github.com/litfass/litfass/article"
)

// maxLine is what writers keep to: RFC 5536 §2.2, without CRLF.
const maxLine = 998

// syntaxRefusal turns an error of package article into a refusal.
func syntaxRefusal(err error) error {
	var s *article.SyntaxError
	switch {
	case errors.Is(err, article.ErrTooLarge):
		return &Refusal{Reason: TooLarge, Code: "too-large", Text: err.Error()}
	case errors.As(err, &s):
		return &Refusal{Reason: Malformed, Code: "syntax", Text: err.Error()}
	}
	return err
}

func malformed(code, format string, args ...any) *Refusal {
	return &Refusal{Reason: Malformed, Code: code, Text: fmt.Sprintf(format, args...)}
}

// once are the fields that may stand in an article one time only (RFC 5536 §3).
var once = [...]string{
	"From", "Date", "Message-ID", "Subject", "Newsgroups", "Path", "References", "Control", "Supersedes",
	"Approved", "Expires", "Distribution", "Followup-To", "Archive", "Injection-Info", "Injection-Date", "Reply-To",
	"Sender", "Organization", "Summary", "Keywords", "User-Agent", "Cancel-Key", "Cancel-Lock", "MIME-Version",
	"Content-Type", "Content-Transfer-Encoding", "Xref", "Lines",
}

// syntax checks a proto-article strictly: RFC 5537 §3.4.1, §3.5 (2), (3), (5);
// RFC 5536 §2.2, §3.
func (in *injection) syntax(context.Context) error {
	for _, check := range []func() error{in.fields, in.mandatory, in.traced, in.dates, in.ids, in.lists, in.bodySize} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// fields checks each field by itself and that none occurs twice.
func (in *injection) fields() error {
	if len(in.d.Header) > 200 {
		return malformed("too-many-fields", "over 200 header fields")
	}
	in.d.Del("Xref") // RFC 5537 §3.6 (9): it means nothing outside the server that made it
	seen := make(map[string]bool, len(in.d.Header))
	octets := 0
	for _, f := range in.d.Header {
		if err := fieldSyntax(f[0], f[1]); err != nil {
			return err
		}
		if octets += len(f[0]) + len(f[1]) + 4; octets > 60<<10 {
			return &Refusal{Reason: TooLarge, Code: "header-too-large", Text: "header of over 60 KiB"}
		}
		name := strings.ToLower(f[0])
		if seen[name] {
			for _, n := range once {
				if strings.EqualFold(n, name) {
					return malformed("twice", "%s: occurs twice", n)
				}
			}
		}
		seen[name] = true
	}
	in.signed = seen["article-signature"]
	return nil
}

func fieldSyntax(name, value string) error {
	if name == "" || len(name) > 100 {
		return malformed("field-name", "a header field's name must have 1 to 100 octets")
	}
	for i := range len(name) {
		if c := name[i]; c < 33 || c > 126 || c == ':' {
			return malformed("field-name", "a header field's name holds the octet %#02x", c)
		}
	}
	lines := strings.Split(value, "\r\n")
	for i, line := range lines {
		n := len(line)
		if i == 0 {
			n += len(name) + 2
		} else if line == "" || line[0] != ' ' && line[0] != '\t' {
			return malformed("fold", "%s: a continued line must begin with a blank", name)
		}
		// RFC 5536 §2.2: no line of a header field may be blanks only.
		if strings.Trim(line, " \t") == "" {
			return malformed("blank", "%s: is empty or has a line of blanks only; leave the field out", name)
		}
		if n > maxLine {
			return malformed("long-line", "%s: a line of over 998 octets (RFC 5536 §2.2); fold it", name)
		}
		if strings.ContainsAny(line, "\r\n\x00") {
			return malformed("octets", "%s: holds NUL, or CR or LF alone", name)
		}
	}
	return nil
}

// mandatory asks for what the poster himself must bring: RFC 5537 §3.4.1.
func (in *injection) mandatory() error {
	for _, name := range [...]string{"From", "Newsgroups", "Subject"} {
		if in.d.Get(name) == "" {
			return malformed("missing", "%s: is missing", name)
		}
	}
	if err := mailboxes(in.d.Get("From")); err != nil {
		return malformed("from", "From: %v; write Name <mailbox@domain>", err)
	}
	if v := in.d.Get("Sender"); v != "" && mailboxes(v) != nil {
		if in.signed {
			return malformed("sender", "Sender: is no mail address")
		}
		in.d.Del("Sender") // INN's inews says news%host: what would be refused elsewhere must not go out
	}
	return nil
}

// mailboxes is lenient: names in raw UTF-8 or an odd charset are let pass as long
// as an address with something on both sides of @ is there.
func mailboxes(v string) error {
	if _, err := mail.ParseAddressList(v); err == nil {
		return nil
	}
	at := strings.LastIndexByte(v, '@')
	if at < 1 || at == len(v)-1 || strings.ContainsAny(v[at-1:at]+v[at+1:at+2], " <>,;:()") {
		return errors.New("holds no mail address")
	}
	return nil
}

// traced refuses what was injected already: RFC 5537 §3.5 (3), §3.4.1.
func (in *injection) traced() error {
	if !in.signed { // RFC 5536 §3.2.8: Injection-Info took the place of these, which a server wrote
		for _, name := range [...]string{"NNTP-Posting-Host", "NNTP-Posting-Date", "X-Trace", "X-Complaints-To"} {
			in.d.Del(name)
		}
	}
	if in.d.Get("Injection-Info") != "" {
		return malformed("injected-before", "Injection-Info: only the server that takes a post may write it")
	}
	for _, hop := range article.PathHops(in.d.Get("Path")) {
		if len(hop) >= 7 && strings.EqualFold(hop[:7], ".POSTED") {
			return malformed("injected-before", "Path: says that the article was posted before")
		}
		if strings.EqualFold(hop, in.Host) {
			return malformed("path-loop", "Path: names this server already")
		}
		if strings.ContainsAny(hop, " \t\"<>()") {
			return malformed("path", "Path: is no list of hosts; leave it out")
		}
	}
	if in.d.Get("Injection-Date") != "" && (in.d.Get("Message-ID") == "" || in.d.Get("Date") == "") {
		return malformed("injection-date", "Injection-Date: needs Message-ID and Date beside it (RFC 5537 §3.4.2)")
	}
	return nil
}

// dates: RFC 5537 §3.5 (3).
func (in *injection) dates() error {
	for _, name := range [...]string{"Date", "Injection-Date"} {
		v := in.d.Get(name)
		if v == "" {
			continue
		}
		t, err := article.ParseDate(v)
		if err != nil || !article.ProperDate(v) {
			return malformed("date", "%s: no date as RFC 5322 §3.3 writes it; leave it out and the server fills it in", name)
		}
		if err := in.timely(t, name, false); err != nil {
			return err
		}
	}
	if v := in.d.Get("Expires"); v != "" {
		if _, err := article.ParseDate(v); err != nil {
			return malformed("expires", "Expires: no date that can be read")
		}
	}
	return nil
}

// timely refuses what is over a day ahead or, unless old, older than the cutoff.
func (a *Agent) timely(t time.Time, field string, old bool) error {
	now := a.now()
	if t.Sub(now) > ahead {
		return &Refusal{Reason: Unwanted, Code: "ahead", Text: field + ": lies over 24 hours in the future; check the clock"}
	}
	if !old && a.policy().Cutoff > 0 && now.Sub(t) > a.policy().Cutoff {
		return &Refusal{Reason: Unwanted, Code: "too-old", Text: fmt.Sprintf("%s: older than %d days, which is the limit here", field, a.policy().Cutoff/day)}
	}
	return nil
}

func (in *injection) ids() error {
	for _, name := range [...]string{"Message-ID", "Supersedes"} {
		v := in.d.Get(name)
		if v == "" {
			continue
		}
		id, err := article.ParseID(v)
		switch {
		case err != nil && name == "Message-ID":
			return malformed("bad-id", "Message-ID: must be one id of the form <left@right>; leave it out and the server makes one")
		case err != nil:
			return malformed("bad-id", "%s: must be one id of the form <left@right>", name)
		case name == "Message-ID" && !id.Proper() && in.o.Door != "smtp": // mail keeps its ids: answers name them
			return malformed("bad-id", "Message-ID: other servers would refuse %.40s (RFC 5536 §3.1.3); leave it out and the server makes one", v)
		}
	}
	if v := in.d.Get("References"); v != "" && len(article.ParseReferences(v)) == 0 {
		return malformed("references", "References: holds no Message-ID")
	}
	if in.d.Get("Control") != "" && in.d.Get("Supersedes") != "" {
		return malformed("control", "Control and Supersedes exclude each other (RFC 5536 §3.2.3)")
	}
	if v := in.d.Get("Control"); controlVerb(v) == "cancel" {
		args := strings.Fields(v)
		if len(args) != 2 {
			return malformed("control", "Control: write cancel <message-id>")
		}
		if _, err := article.ParseID(args[1]); err != nil {
			return malformed("control", "Control: cancel needs one Message-ID with its angle brackets")
		}
	}
	return nil
}

func (in *injection) lists() error {
	groups, err := article.ParseGroups(in.d.Get("Newsgroups"), int(orInt(int64(in.policy().MaxGroups), 20)))
	if err != nil {
		return syntaxRefusal(err)
	}
	follow := in.d.Get("Followup-To")
	if follow != "" && follow != "poster" {
		to, err := article.ParseGroups(follow, 0)
		if err != nil {
			return malformed("followup-to", "Followup-To: names of groups, or poster")
		}
		if in.policy().MaxFollow > 0 && len(to) > in.policy().MaxFollow {
			return &Refusal{Reason: Unwanted, Code: "followup-limit", Text: fmt.Sprintf("Followup-To: at most %d groups", in.policy().MaxFollow)}
		}
	}
	if follow == "" && in.policy().MaxFollow > 0 && len(groups) > in.policy().MaxFollow {
		return &Refusal{Reason: Unwanted, Code: "followup-limit", Text: fmt.Sprintf("a post to over %d groups needs Followup-To", in.policy().MaxFollow)}
	}
	if v := in.d.Get("Distribution"); v != "" && !distribution(v) {
		return malformed("distribution", "Distribution: a list of words such as world,local")
	}
	return nil
}

// distribution checks RFC 5536 §3.2.4: dist-name = ALPHA / DIGIT *( ALPHA / DIGIT / "+" / "-" / "_" ).
func distribution(v string) bool {
	for name := range strings.SplitSeq(v, ",") {
		name = strings.Trim(name, " \t")
		if name == "" || len(name) > 100 {
			return false
		}
		for i := range len(name) {
			c := name[i]
			word := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
			if !word && (i == 0 || c != '+' && c != '-' && c != '_') {
				return false
			}
		}
	}
	return true
}

func (in *injection) bodySize() error {
	n, err := in.d.Body.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("measure the body: %w", err)
	}
	limit := orInt(in.policy().MaxPost, 64<<20)
	if n > limit {
		return &Refusal{Reason: TooLarge, Code: "too-large", Text: fmt.Sprintf("body of %d octets, the limit is %d", n, limit)}
	}
	return nil
}

// preview builds the draft for filters. Of a body too large to be an article
// they see the beginning: the rest is on its way into a torrent.
func preview(d *article.Draft, lim article.Limits) (*article.Article, error) {
	n, err := d.Body.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	p := &article.Draft{Header: d.Header, Body: d.Body}
	const most = 256 << 10
	if n > most {
		if _, err := d.Body.Seek(0, io.SeekStart); err != nil {
			return nil, err
		}
		head, err := io.ReadAll(io.LimitReader(d.Body, most))
		if err != nil {
			return nil, err
		}
		head = head[:bytes.LastIndexByte(head, '\n')+1]
		p.Body = bytes.NewReader(head)
	}
	return p.Build(lim)
}

// longLine returns the number of the first line of wire with over 998 octets, or 0.
func longLine(wire []byte) int {
	for n := 1; len(wire) > 0; n++ {
		i := bytes.IndexByte(wire, '\n')
		if i < 0 {
			i = len(wire) - 1
		}
		text := i - 1
		if wire[0] == '.' {
			text--
		}
		if text > maxLine {
			return n
		}
		wire = wire[i+1:]
	}
	return 0
}

// controlVerb is the first word of a Control field, in lower case, or "".
func controlVerb(v string) string {
	verb, _, _ := strings.Cut(strings.TrimLeft(v, " \t"), " ")
	return strings.ToLower(strings.TrimRight(verb, "\t"))
}

func groupControl(verb string) bool {
	return verb == "newgroup" || verb == "rmgroup" || verb == "checkgroups"
}
