package syndicate

import (
	"bytes"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"html"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/textproto"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/article/content"
)

// feedHost is the right side of the ids of feed articles. It is nobody's name, so
// that nodes which poll the same feed make the same id.
const feedHost = content.FeedHost

var lower32 = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

func hash32(n int, parts ...string) string {
	size := 0
	for _, p := range parts {
		size += len(p) + 20
	}
	all := make([]byte, 0, size)
	for _, p := range parts {
		all = append(append(strconv.AppendInt(all, int64(len(p)), 10), ':'), p...)
	}
	sum := sha256.Sum256(all)
	var out [52]byte
	lower32.Encode(out[:], sum[:])
	return string(out[:n])
}

// feedKey names a feed inside ids.
func feedKey(feedURL string) string { return hash32(16, "feed", feedURL) }

// entryKey names an entry of a feed inside ids.
func entryKey(feedURL, id string) string { return hash32(20, "entry", feedURL, id) }

// version is a hash of what a reader sees of an entry; markup alone changes nothing.
func (e *Entry) version(text string) string {
	return hash32(8, e.Title, oneLine(text))
}

// raw is a hash of all that the version and the text of the article come from.
func (e *Entry) raw() string { return hash32(16, "raw", e.Title, e.HTML) }

// messageID is a function of feed, entry and version alone: two nodes that poll
// the same feed make the same article, and history drops the second.
func messageID(entry, version, feed string) article.ID {
	return article.ID("<" + entry + "." + version + "." + feed + "@" + feedHost + ">")
}

// splitID takes an id of messageID's apart.
func splitID(id article.ID) (entry, version, feed string, ok bool) {
	left, host, _ := strings.Cut(id.Bare(), "@")
	if host != feedHost {
		return "", "", "", false
	}
	parts := strings.Split(left, ".")
	if len(parts) != 3 || len(parts[0]) != 20 || len(parts[1]) != 8 || len(parts[2]) != 16 {
		return "", "", "", false
	}
	return parts[0], parts[1], parts[2], true
}

// post is one entry about to become an article.
type post struct {
	id         article.ID
	supersedes article.ID
	group      article.Group
	feed       *Feed
	feedURL    string
	entry      *Entry
	page       content.Page
	date       time.Time
	files      []attachment
}

// attachment is a fetched enclosure.
type attachment struct {
	name, kind string
	content    io.Reader
}

// header writes the fields of the article: all from the feed is flattened to one
// line first, so nothing in a feed can add a field.
func (p *post) header() [][2]string {
	who := p.entry.Author
	if who == "" {
		who = p.feed.Title
	} else if p.feed.Title != "" && who != p.feed.Title {
		who = cutText(who, 80) + " (" + cutText(p.feed.Title, 80) + ")"
	}
	host := "feed.invalid"
	if u, err := url.Parse(p.feedURL); err == nil && u.Hostname() != "" && !strings.Contains(u.Hostname(), ":") {
		host = cutText(u.Hostname(), 100) + ".invalid"
	}
	title := p.entry.Title
	if title == "" {
		if title = cutText(oneLine(p.page.Text), 80); title == "" {
			title = "(untitled)"
		}
	}
	h := [][2]string{
		{"From", word(cutText(oneLine(who), 160), host) + " <noreply@" + host + ">"},
		{"Newsgroups", string(p.group)},
		{"Subject", fold("Subject", mime.QEncoding.Encode("utf-8", oneLine(cutText(title, 300))))},
		{"Date", article.FormatDate(p.date)},
		{"Message-ID", string(p.id)},
	}
	if p.supersedes != "" {
		h = append(h, [2]string{"Supersedes", string(p.supersedes)})
	}
	if link := webLink(p.entry.Link); link != "" && len(link) < 900 {
		h = append(h, [2]string{"Archived-At", "<" + link + ">"}) // RFC 5064
	}
	if k := keywords(p.entry.Categories); k != "" {
		h = append(h, [2]string{"Keywords", fold("Keywords", mime.QEncoding.Encode("utf-8", k))})
	}
	return append(h, [2]string{"MIME-Version", "1.0"}, [2]string{"Auto-Submitted", "auto-generated"})
}

// oneLine makes one blank of all white space between words.
func oneLine(s string) string {
	out := make([]byte, 0, len(s))
	for w := range strings.FieldsSeq(s) {
		if len(out) > 0 {
			out = append(out, ' ')
		}
		out = append(out, w...)
	}
	return string(out)
}

// word writes a display name: encoded words where not ASCII, quoted otherwise.
func word(name, fallback string) string {
	if name == "" {
		name = fallback
	}
	for _, r := range name {
		if r < 128 && r >= 32 {
			continue
		}
		enc := mime.QEncoding
		if strings.ContainsAny(name, "\"#$%&'(),.:;<>@[\\]^`{|}~") { // not in a phrase: RFC 2047 §5 (3)
			enc = mime.BEncoding
		}
		return strings.ReplaceAll(enc.Encode("utf-8", name), "\r\n", "")
	}
	return `"` + strings.ReplaceAll(strings.ReplaceAll(name, `\`, `\\`), `"`, `\"`) + `"`
}

// fold breaks a field at blanks so that no line is over 78 octets where it can.
func fold(name, v string) string {
	var out strings.Builder
	col := len(name) + 2
	for i, w := range strings.Split(v, " ") {
		if i > 0 {
			if col+1+len(w) > 78 {
				out.WriteString("\r\n ")
				col = 1
			} else {
				out.WriteByte(' ')
				col++
			}
		}
		out.WriteString(w)
		col += len(w)
	}
	return out.String()
}

func keywords(cats []string) string {
	var out []string
	for _, c := range cats[:min(len(cats), 10)] {
		if c = oneLine(strings.ReplaceAll(plain(c), ",", " ")); c != "" {
			out = append(out, cutText(c, 60))
		}
	}
	return strings.Join(out, ", ")
}

// webLink returns s if it is an http or https address fit for a header, else "".
func webLink(s string) string {
	u, err := url.Parse(strings.TrimSpace(s))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return ""
	}
	return u.String()
}

// draft writes the article into body, which it then belongs to.
func (p *post) draft(body article.Body, w io.Writer) (*article.Draft, error) {
	d := &article.Draft{Header: p.header(), Body: body}
	boundary := "=_" + hash32(24, string(p.id))
	enclosures := p.linked()
	if len(enclosures)+len(p.files) == 0 && p.textOnly() {
		kind, coding, text := encoded("text/plain", p.plainBody())
		d.Header = append(d.Header, [2]string{"Content-Type", kind}, [2]string{"Content-Transfer-Encoding", coding})
		_, err := w.Write(text)
		return d, err
	}
	if len(enclosures)+len(p.files) == 0 {
		d.Header = append(d.Header, [2]string{"Content-Type", "multipart/alternative;\r\n boundary=\"" + boundary + "\""})
		return d, p.alternative(w, boundary)
	}
	d.Header = append(d.Header, [2]string{"Content-Type", "multipart/mixed;\r\n boundary=\"" + boundary + "\""})
	m, err := mixed(w, boundary)
	if err != nil {
		return nil, err
	}
	inner := "=_a" + hash32(24, string(p.id))
	part, err := m.CreatePart(mimeHeader("multipart/alternative; boundary=\"" + inner + "\""))
	if err != nil {
		return nil, err
	}
	if err := p.alternative(part, inner); err != nil {
		return nil, err
	}
	for _, e := range enclosures {
		if err := writeLinked(m, e); err != nil {
			return nil, err
		}
	}
	for _, f := range p.files {
		if err := writeFile(m, f); err != nil {
			return nil, err
		}
	}
	return d, m.Close()
}

func mixed(w io.Writer, boundary string) (*multipart.Writer, error) {
	m := multipart.NewWriter(w)
	return m, m.SetBoundary(boundary)
}

func mimeHeader(contentType string, more ...string) textproto.MIMEHeader {
	h := textproto.MIMEHeader{"Content-Type": {contentType}}
	for i := 0; i+1 < len(more); i += 2 {
		h.Set(more[i], more[i+1])
	}
	return h
}

// textOnly says whether HTML would add nothing to the text; newsreaders that know no
// parts then show nothing odd.
func (p *post) textOnly() bool { return !strings.Contains(p.page.Safe, "<") }

// encoded is a text as a part of an article, with its type and coding. What is ASCII in
// short lines travels as it is.
func encoded(kind, text string) (typ, coding string, out []byte) {
	var b bytes.Buffer
	if coding = "7bit"; sevenBit(text) {
		writeCRLF(&b, text)
	} else {
		coding = "quoted-printable"
		q := quotedprintable.NewWriter(&b)
		_, _ = io.WriteString(q, text) // into memory; it makes CRLF of line ends
		_ = q.Close()
	}
	return kind + "; charset=utf-8", coding, b.Bytes()
}

// alternative writes the text and the HTML.
func (p *post) alternative(w io.Writer, boundary string) error {
	var b bytes.Buffer
	b.Grow(2*len(p.page.Text) + 2*len(p.page.Safe) + 1024)
	for _, part := range [...][2]string{{"text/plain", p.plainBody()}, {"text/html", p.htmlBody()}} {
		kind, coding, text := encoded(part[0], part[1])
		fmt.Fprintf(&b, "--%s\r\nContent-Type: %s\r\nContent-Transfer-Encoding: %s\r\n\r\n%s\r\n", boundary, kind, coding, text)
	}
	fmt.Fprintf(&b, "--%s--\r\n", boundary)
	_, err := w.Write(b.Bytes())
	return err
}

// sevenBit says whether s may travel as it is: RFC 2045 §2.7, with shorter lines.
func sevenBit(s string) bool {
	col := 0
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\n':
			col = -1
		case c >= 127 || c < ' ' && c != '\t' || col > 900:
			return false
		}
		col++
	}
	return true
}

// writeCRLF writes s, whose lines end with LF.
func writeCRLF(b *bytes.Buffer, s string) {
	for {
		i := strings.IndexByte(s, '\n')
		if i < 0 {
			b.WriteString(s)
			return
		}
		b.WriteString(s[:i])
		b.WriteString("\r\n")
		s = s[i+1:]
	}
}

func (p *post) plainBody() string {
	var b strings.Builder
	b.Grow(len(p.page.Text) + 512)
	if text := strings.TrimSpace(p.page.Text); text != "" {
		wrap(&b, text)
	}
	for i, l := range p.page.Links {
		if i == 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "[%d] %s\n", i+1, l)
	}
	if l := webLink(p.entry.Link); l != "" {
		if b.Len() > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(l + "\n")
	}
	for _, e := range p.linked() {
		fmt.Fprintf(&b, "\nEnclosure: %s (%s%s)\n", e.URL, e.Type, sizeText(e.Length))
	}
	if b.Len() > 0 {
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "-- \n%s\n", oneLine(p.feed.Title+" "+p.feedURL))
	return b.String()
}

// wrapAt is how long lines of an article are, by Usenet's custom.
const wrapAt = 72

// wrap writes text in lines of at most wrapAt characters, where words allow.
func wrap(b *strings.Builder, text string) {
	for line := range strings.SplitSeq(text, "\n") {
		if len(line) <= wrapAt {
			b.WriteString(line)
			b.WriteByte('\n')
			continue
		}
		col := 0
		for word := range strings.FieldsSeq(line) {
			n := utf8.RuneCountInString(word)
			switch {
			case col > 0 && col+1+n > wrapAt:
				b.WriteByte('\n')
				col = 0
			case col > 0:
				b.WriteByte(' ')
				col++
			}
			b.WriteString(word)
			col += n
		}
		b.WriteByte('\n')
	}
}

func sizeText(n int64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(", %d bytes", n)
}

func (p *post) htmlBody() string {
	var b strings.Builder
	b.Grow(len(p.page.Safe) + 512)
	b.WriteString(strings.ReplaceAll(p.page.Safe, "</p><", "</p>\n<")) // as text, "<" is always "&lt;"
	if l := webLink(p.entry.Link); l != "" {
		l = html.EscapeString(l)
		fmt.Fprintf(&b, "\n<p><a href=\"%s\">%s</a></p>\n", l, l)
	}
	return b.String()
}

// linked returns the enclosures that are shown as links: web addresses, at most
// ten, those fetched left out.
func (p *post) linked() []Enclosure {
	var out []Enclosure
	for _, e := range p.entry.Enclosures {
		l := webLink(e.URL)
		if l == "" || len(out) == 10 || p.fetched(e) {
			continue
		}
		t, _, err := mime.ParseMediaType(e.Type)
		if err != nil {
			t = "application/octet-stream"
		}
		out = append(out, Enclosure{URL: l, Type: t, Length: e.Length})
	}
	return out
}

func (p *post) fetched(e Enclosure) bool {
	for _, f := range p.files {
		if f.name == enclosureName(e.URL) {
			return true
		}
	}
	return false
}

func enclosureName(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "enclosure"
	}
	name := path.Base(u.Path)
	if name == "/" || name == "." {
		name = "enclosure"
	}
	return cutText(name, 120)
}

// writeLinked writes a part whose body is elsewhere: RFC 2046 §5.2.3, RFC 2017.
func writeLinked(m *multipart.Writer, e Enclosure) error {
	kind := "message/external-body; access-type=URL;\r\n URL=\"" + foldURL(e.URL) + "\""
	if e.Length > 0 {
		kind += fmt.Sprintf(";\r\n size=%d", e.Length)
	}
	w, err := m.CreatePart(mimeHeader(kind))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "Content-Type: %s\r\nContent-Disposition: attachment; filename*=UTF-8''%s\r\n\r\n", e.Type, url.PathEscape(enclosureName(e.URL)))
	return err
}

// foldURL breaks an address into lines of 60 octets; RFC 2017 §3 has readers drop
// the white space again.
func foldURL(u string) string {
	u = strings.ReplaceAll(u, `"`, "%22")
	var out strings.Builder
	for len(u) > 60 {
		out.WriteString(u[:60] + "\r\n  ")
		u = u[60:]
	}
	return out.String() + u
}

func writeFile(m *multipart.Writer, f attachment) error {
	w, err := m.CreatePart(mimeHeader(f.kind, "Content-Transfer-Encoding", "base64",
		"Content-Disposition", "attachment; filename*=UTF-8''"+url.PathEscape(f.name)))
	if err != nil {
		return err
	}
	return content.CopyBase64(w, f.content)
}
