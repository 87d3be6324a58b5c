package smtpd

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/mail"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/article/content"
	"github.com/litfass/litfass/internal/spill"
	"github.com/litfass/litfass/smtpd/letters"
)

// maxHeader bounds the header of a mail in octets; Received fields make it longer
// than an article's.
const maxHeader = 256 << 10

// message is a mail as it came in, its header apart.
type message struct {
	head   []byte // as it came, with CRLF, without the empty line
	header [][2]string
	body   *spill.Buffer
}

// readMessage reads a mail to its end. An error of r itself (a connection that
// ends, lines that do not end with CRLF) is returned as it is; what is wrong with the
// header is an *article.SyntaxError.
func readMessage(r io.Reader, dir string, limit int64) (*message, error) {
	br := bufio.NewReaderSize(r, 16<<10)
	head, clean, herr := readHead(br)
	m := &message{head: head, body: spill.New(dir, 256<<10, limit)}
	if _, err := io.Copy(m.body, br); err != nil {
		m.body.Close()
		return nil, err
	}
	if herr == nil {
		m.header, herr = article.ParseHeader(clean, article.Limits{Header: maxHeader, Field: 64 << 10})
	}
	if herr != nil {
		m.body.Close()
		return nil, herr
	}
	return m, nil
}

// readHead reads up to and with the empty line. clean is the header in wire form
// without the repeats of fields that news allows once only.
func readHead(br *bufio.Reader) (head, clean []byte, err error) {
	seen := map[string]bool{}
	drop := false
	for {
		line, err := readLine(br, maxHeader-len(head))
		if err != nil && err != io.EOF {
			return nil, nil, err
		}
		if bytes.Equal(line, []byte("\r\n")) || len(line) == 0 {
			return head, clean, nil
		}
		if err == io.EOF {
			line = append(line, "\r\n"...)
		}
		head = append(head, line...)
		if line[0] != ' ' && line[0] != '\t' {
			name, _, _ := strings.Cut(strings.ToLower(string(line[:min(len(line), 80)])), ":")
			drop = once[name] && seen[name]
			seen[name] = true
		}
		if drop {
			continue
		}
		if line[0] == '.' {
			clean = append(clean, '.')
		}
		clean = append(clean, line...)
	}
}

// readLine reads one line of at most limit octets.
func readLine(br *bufio.Reader, limit int) ([]byte, error) {
	var line []byte
	for {
		piece, err := br.ReadSlice('\n')
		if len(line)+len(piece) > limit {
			return nil, &article.SyntaxError{Why: "the header is too large"}
		}
		line = append(line, piece...)
		if err != bufio.ErrBufferFull {
			return line, err
		}
	}
}

var once = map[string]bool{"from": true, "subject": true, "date": true, "message-id": true, "references": true, "reply-to": true,
	"sender": true, "in-reply-to": true, "mime-version": true, "content-type": true, "content-transfer-encoding": true}

// dropped are the fields of a mail that would give orders to news agents, or that
// are nobody's business in an article.
var dropped = map[string]bool{"newsgroups": true, "control": true, "approved": true, "supersedes": true, "path": true, "xref": true,
	"distribution": true, "injection-info": true, "injection-date": true, "also-control": true, "followup-to": true, "expires": true,
	"archive": true, "cancel-key": true, "cancel-lock": true, "article-signature": true, "nntp-posting-host": true,
	"nntp-posting-date": true, "bcc": true, "return-path": true, "lines": true, "relay-version": true, "posting-version": true,
	"date-received": true, "x-original-to": true, "delivered-to": true}

// octets is the mail as it came.
func (m *message) octets() io.Reader {
	_, _ = m.body.Seek(0, io.SeekStart) // a Buffer always can
	return io.MultiReader(bytes.NewReader(m.head), strings.NewReader("\r\n"), m.body)
}

func (m *message) get(name string) string {
	d := article.Draft{Header: m.header}
	return d.Get(name)
}

// plain is a field as a person reads it (RFC 2047), in lower case.
func (m *message) plain(name string) string { return strings.ToLower(content.Header(m.get(name))) }

// language is what the mail wants to be answered in, or "".
func (m *message) language() string {
	return letters.Language(m.get("Accept-Language"), m.get("Content-Language"))
}

func (m *message) count(name string) (n int) {
	for _, f := range m.header {
		if strings.EqualFold(f[0], name) {
			n++
		}
	}
	return n
}

// converter turns mails into drafts.
type converter struct {
	dir    string
	limit  int64
	toText func(html, charset string) string
	now    func() time.Time
	host   string
	cutoff time.Duration
}

// draft makes an article of m for groups. received is the content of our own
// Received field. The body it holds is closed with done.
func (c *converter) draft(m *message, groups []article.Group, received string) (d *article.Draft, done func(), err error) {
	d = &article.Draft{Body: m.body}
	done = func() { m.body.Close() }
	header := m.header
	s, err := surveyMail(m.body, header)
	if err != nil {
		return nil, done, err
	}
	if !s.sound() {
		out := spill.New(c.dir, 256<<10, 2*c.limit+1<<20)
		header, err = rewriteMail(m.body, header, s, c.toText, out)
		m.body.Close()
		d.Body, done = out, func() { out.Close() }
		if err != nil {
			return nil, done, err
		}
	}
	d.Header = append(d.Header, [2]string{"Received", received})
	charset := s.charset()
	for _, f := range header {
		if !dropped[strings.ToLower(f[0])] {
			d.Header = append(d.Header, [2]string{f[0], shorten(utf8Field(f[1], charset))})
		}
	}
	return d, done, c.complete(d, groups)
}

// complete fills in what an article must have and mends what mail does otherwise.
func (c *converter) complete(d *article.Draft, groups []article.Group) error {
	if _, err := mail.ParseAddressList(d.Get("From")); err != nil && !strings.Contains(d.Get("From"), "@") {
		return &article.SyntaxError{Field: "From", Why: "there is no address in it"}
	}
	names := make([]string, len(groups))
	for i, g := range groups {
		names[i] = string(g)
	}
	replace(d, "Newsgroups", strings.Join(names, ","))
	if d.Get("Subject") == "" {
		replace(d, "Subject", "(no subject)")
	}
	if id := d.Get("Message-ID"); !isID(id) {
		replace(d, "Message-ID", c.madeID(id, d))
	}
	c.completeDate(d)
	refs := article.ParseReferences(d.Get("References"))
	if d.Get("References") == "" { // RFC 5537 §3.4.4 wants one there
		refs = article.ParseReferences(d.Get("In-Reply-To"))
		refs = refs[:min(len(refs), 1)]
	}
	replace(d, "References", foldIDs(refs))
	kept := d.Header[:0]
	for _, f := range d.Header {
		if f[1] = noBlankLines(f[1]); f[1] != "" {
			kept = append(kept, f)
		}
	}
	d.Header = kept
	return nil
}

// replace sets a field that stands there once; "" takes it out.
func replace(d *article.Draft, name, value string) {
	d.Del(name)
	if value != "" {
		d.Set(name, value)
	}
}

func isID(s string) bool {
	_, err := article.ParseID(s)
	return err == nil
}

// completeDate leaves a date that cannot be taken to the agent to set, and writes one anew
// that news does not know.
func (c *converter) completeDate(d *article.Draft) {
	date := d.Get("Date")
	if date == "" {
		return
	}
	t, err := article.ParseDate(date)
	switch now := c.now(); {
	case err != nil || t.After(now.Add(24*time.Hour)) || c.cutoff > 0 && t.Before(now.Add(-c.cutoff)):
		d.Del("Date")
	case !article.ProperDate(date):
		d.Set("Date", article.FormatDate(t))
	default:
		return
	}
	d.Set("Original-Date", date)
}

// utf8Field reads a field with raw octets over 127 that are no UTF-8 in the
// charset of the mail's text; news has UTF-8 there (RFC 5536 §2.2).
func utf8Field(v, charset string) string {
	if utf8.ValidString(v) {
		return v
	}
	return content.ToUTF8(charset, []byte(v))
}

// noBlankLines takes lines out of a folded field that hold nothing but blanks;
// mail has them, news does not: RFC 5536 §2.2.
func noBlankLines(v string) string {
	lines := strings.Split(v, "\r\n")
	kept := lines[:0]
	for _, l := range lines {
		if strings.Trim(l, " \t") != "" {
			kept = append(kept, l)
		}
	}
	return strings.TrimLeft(strings.Join(kept, "\r\n"), " \t")
}

// foldIDs writes References anew, an id a line; of more than thirty the first and
// the last are kept (RFC 5537 §3.4.4).
func foldIDs(refs []article.ID) string {
	if len(refs) > 30 {
		refs = append(refs[:1:1], refs[len(refs)-29:]...)
	}
	words := make([]string, len(refs))
	for i, id := range refs {
		words[i] = string(id)
	}
	return strings.Join(words, "\r\n ")
}

// madeID makes an id of what does not change when the same mail comes again.
func (c *converter) madeID(old string, d *article.Draft) string {
	h := sha256.New()
	for _, s := range []string{old, d.Get("From"), d.Get("Date"), d.Get("Subject")} {
		fmt.Fprintf(h, "%d:%s", len(s), s)
	}
	if _, err := d.Body.Seek(0, io.SeekStart); err == nil {
		_, _ = io.CopyN(h, d.Body, 64<<10)
	}
	return fmt.Sprintf("<mail.%x@%s>", h.Sum(nil)[:12], c.host)
}

// shorten folds a field's content so that no line is over maxLine; where there is
// no blank to fold at, it is cut.
func shorten(v string) string {
	if len(v) < maxLine-100 {
		return v
	}
	var out strings.Builder
	for i, line := range strings.Split(v, "\r\n") {
		if i > 0 {
			out.WriteString("\r\n")
		}
		for len(line) > maxLine-100 {
			cut := strings.LastIndexAny(line[:maxLine-100], " \t")
			if cut <= 0 {
				line = line[:maxLine-100]
				break
			}
			out.WriteString(line[:cut] + "\r\n")
			line = line[cut:]
		}
		out.WriteString(line)
	}
	return out.String()
}

var errAutomatic = errors.New("this is an automatic message")

// automatic says why a mail must not become an article because no person wrote it
// to the group: RFC 3834, RFC 3464, and what bounces look like in the wild.
func (m *message) automatic() error {
	say := func(why string) error { return fmt.Errorf("%w: %s", errAutomatic, why) }
	if why := m.absence(); why != "" {
		return say(why)
	}
	if m.get("X-Failed-Recipients") != "" {
		return say("X-Failed-Recipients")
	}
	kind := strings.ToLower(m.get("Content-Type"))
	if strings.HasPrefix(kind, "multipart/report") || strings.HasPrefix(kind, "message/delivery-status") || strings.HasPrefix(kind, "message/feedback-report") {
		return say("a report")
	}
	if strings.TrimSpace(m.get("Return-Path")) == "<>" { // a mail server of ours has taken it from a null sender
		return say("it has no sender")
	}
	if from := m.plain("From"); hasAny(from, mailers) || hasAny(from, nobodies) {
		return say("from a mail server, or from where no answer is read")
	}
	subject := m.plain("Subject")
	if beginsWithAny(subject, bounceSubjects) {
		return say("subject of a bounce")
	}
	if strings.Contains(subject, "are not member") && m.get("X-MLServer") != "" { // fml
		return say("a mailing list that refuses")
	}
	if n := m.count("Received"); n > 100 { // RFC 5321 §6.3
		return fmt.Errorf("over 100 Received fields: this mail goes round in a loop")
	}
	return nil
}

// absence says by what a mail shows that a program answers for somebody, or "".
func (m *message) absence() string {
	if v := m.get("Auto-Submitted"); v != "" && !strings.EqualFold(strings.TrimSpace(v), "no") {
		return "Auto-Submitted: " + v
	}
	switch strings.ToLower(m.get("Precedence")) {
	case "auto_reply", "junk":
		return "Precedence"
	}
	for _, name := range answering {
		if v := m.get(name); v != "" && !strings.EqualFold(v, "no") && !strings.EqualFold(v, "false") {
			return name
		}
	}
	if beginsWithAny(m.plain("Subject"), absenceSubjects) {
		return "subject of an automatic reply"
	}
	return ""
}

// answering are fields of programs that answer for somebody.
var answering = []string{"X-Autoreply", "X-Autoreply-From", "X-Autorespond", "X-Autoresponse", "X-Auto-Response-From", "X-Autoresponder", "X-Autogenerated",
	"X-Mail-Autoreply", "X-FC-MachineGenerated", "X-Vacation"}

// mailers are parts of From by which mail servers call themselves.
var mailers = []string{"mailer-daemon", "postmaster@", "mail delivery s", "mail-daemon", "double-bounce@", "<>", "post_master@"}

// nobodies are parts of From where no answer is read.
var nobodies = []string{"no-reply@", "noreply@", "donotreply@", "do-not-reply@"}

// bounceSubjects begin the subjects of bounces, of servers that stand in no RFC's way, too.
var bounceSubjects = []string{"undeliverable", "undelivered", "delivery status notification", "delivery failure", "delivery failed", "delivery report",
	"delivery notification", "delivery has failed", "mail delivery", "message delivery", "permanent delivery failure", "failure delivery", "failure notice", "mail failure",
	"mail system error", "mail could not be delivered", "message not delivered", "message could not be delivered", "returned mail", "returned to sender",
	"non-deliverable mail", "nondeliverable mail", "nondelivery", "warning: message ", "warning: could not send", "warning: delayed mail", "notice: mail delivery status",
	"delayed mail (", "sorry, your message could not be delivered", "there was an error sending your mail", "error(s) in forwarding", "complaint about message from",
	"non remis", "non_remis", "impossible de remettre", "non recapitabile", "no se puede entregar", "no se ha podido entregar", "não é possível entregar", "olevererbart",
	"unzustellbar", "nicht zugestellt", "nicht zustellbar", "onbestelbaar", "kan ikke leveres", "kunde inte levereras", "не удается доставить", "недоставленное сообщение",
	"niedostarczalne", "nedoručitelné", "メールエラー通知", "メッセージを配信できません", "配信不能", "未送达", "无法传递", "无法送达", "退信"}

// absenceSubjects begin the subjects of what programs answer for somebody.
var absenceSubjects = []string{"automatic reply", "automated reply", "automatic response", "out of office", "out of the office", "autoreply", "auto-reply", "auto reply", "auto response",
	"autosvar", "automatiskt svar", "automatisk svar", "automatische antwort", "autom. antwort", "automatisch antwoord", "abwesenheitsnotiz", "abwesend:", "abwesenheit:",
	"réponse automatique", "respuesta automática", "risposta automatica", "resposta automática", "fuera de la oficina", "absence du bureau", "automaattinen vastaus",
	"automatická odpověď", "odpowiedź automatyczna", "automatikus válasz", "otomatik yanıt", "автоответ", "автоматический ответ", "自动回复", "自動回覆", "自動応答", "자동 회신", "자동 응답"}
