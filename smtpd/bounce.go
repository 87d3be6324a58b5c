package smtpd

import (
	"bytes"
	"io"
	"slices"
	"strings"

	"github.com/litfass/litfass/article/content"
)

// maxStatus bounds how much of a delivery status is read, in octets.
const maxStatus = 64 << 10

// undelivered says whether a mail to a bounce address tells that ours will never
// arrive. What a program says for itself counts (RFC 3464); else what bounces look
// like in the wild. A delay, a receipt, an absent person's notice or what somebody
// writes by hand is none: it must not end a subscription.
func (m *message) undelivered() bool {
	if verdict, said := m.deliveryStatus(); said {
		return verdict
	}
	kind, params := content.MediaType(m.get("Content-Type"), "")
	if kind == "multipart/report" && params["report-type"] != "" && !strings.EqualFold(params["report-type"], "delivery-status") {
		return false // a receipt (RFC 8098), a complaint (RFC 5965)
	}
	subject := m.plain("Subject")
	if hasAny(subject, delays) {
		return false
	}
	if m.get("X-Failed-Recipients") != "" || kind == "multipart/report" || hasAny(m.plain("From"), mailers) {
		return true // servers, too, say that they are automatic
	}
	return m.absence() == "" && beginsWithAny(subject, bounceSubjects)
}

func hasAny(s string, parts []string) bool {
	return slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(s, p) })
}

func beginsWithAny(s string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(s, p) })
}

// delays are what warnings say that a mail is late, not lost.
var delays = []string{"(delay)", "delayed", "warning: could not send", "warning: message", "could not be delivered yet", "still being retried"}

// deliveryStatus reads the first message/delivery-status: RFC 3464 §2.3.3. said is
// false if there is none, or none that says what became of the mail.
func (m *message) deliveryStatus() (failed, said bool) {
	var r statusReader
	if _, err := m.body.Seek(0, io.SeekStart); err != nil || walkMail(m.body, m.header, false, &r) != nil {
		return false, false
	}
	status := byte(0)
	for line := range bytes.Lines(r.text.Bytes()) {
		name, value, _ := strings.Cut(string(line), ":")
		value = strings.ToLower(strings.TrimSpace(value))
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "action":
			said = true
			failed = failed || strings.HasPrefix(value, "fail") || value == "expired" // SendGrid
		case "status":
			if value != "" {
				status = max(status, value[0])
			}
		}
	}
	if !said && status != 0 {
		return status == '5', true
	}
	return failed, said
}

// statusReader is a walk that gathers the text of the first delivery status.
type statusReader struct {
	text  bytes.Buffer
	found bool
	open  bool
}

func (s *statusReader) raw([]byte) error { return nil }

func (s *statusReader) begin(p *part) error {
	s.open = !s.found && p.index >= 0 && strings.HasSuffix(p.kind, "/delivery-status")
	s.found = s.found || s.open
	return nil
}

func (s *statusReader) data(_ *part, piece []byte, _ bool) error {
	if s.open && s.text.Len() < maxStatus {
		s.text.Write(piece)
	}
	return nil
}

func (s *statusReader) end(*part) error { s.open = false; return nil }
