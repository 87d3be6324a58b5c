package dialog

import (
	"errors"
	"io"
	"net"
	"slices"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// maxWrong is how many passwords may be wrong on one connection.
const maxWrong = 10

// wrapped is a Session as go-smtp calls one.
type wrapped struct {
	gate   *gate
	conn   *smtp.Conn
	s      Session
	rcpts  []string
	utf8   bool // the transaction may hold addresses that are not ASCII
	wrongs int
}

// RemoteAddr, LocalAddr, Secure and Hello make a Peer of it.
func (w *wrapped) RemoteAddr() net.Addr { return w.gate.RemoteAddr() }
func (w *wrapped) LocalAddr() net.Addr  { return w.gate.LocalAddr() }
func (w *wrapped) Secure() bool         { return w.gate.secure() }
func (w *wrapped) Hello() string        { return w.conn.Hostname() }

func (w *wrapped) Mail(from string, o *smtp.MailOptions) error {
	if w.utf8 = o.UTF8; !w.utf8 && !ascii(from) {
		return w.answer(errNeedsUTF8())
	}
	err := w.s.Mail(from)
	if err == nil {
		w.gate.setOpen(true)
	}
	return w.answer(err)
}

func (w *wrapped) Rcpt(to string, _ *smtp.RcptOptions) error {
	if !w.utf8 && !ascii(to) {
		return w.answer(errNeedsUTF8())
	}
	err := w.s.Rcpt(to)
	if err == nil {
		w.rcpts = append(w.rcpts, to)
	}
	return w.answer(err)
}

func (w *wrapped) Data(io.Reader) error { return w.message()[0] }

// LMTPData answers for each recipient: RFC 2033 §4.2.
func (w *wrapped) LMTPData(_ io.Reader, status smtp.StatusCollector) error {
	for i, err := range w.message() {
		status.SetStatus(w.rcpts[i], err)
	}
	return w.answer(errors.New("no answer for a recipient"))
}

// message hands over the message, which is at the gate.
func (w *wrapped) message() (errs []error) {
	m := &sound{r: w.gate.message()}
	errs = w.s.Message(m)
	_, _ = io.CopyN(io.Discard, m, w.gate.srv.MaxMessage)
	if _, counted := m.r.(*chunks); m.bad || !m.whole && !counted { // what follows is not known to be commands
		w.gate.hangUp("")
	}
	for i := range errs {
		errs[i] = w.answer(errs[i])
	}
	return errs
}

func (w *wrapped) Reset() {
	w.rcpts = nil
	w.gate.setOpen(false)
	w.s.Reset()
}

func (w *wrapped) Logout() error { return nil }

func (w *wrapped) AuthMechanisms() []string {
	return w.s.Mechanisms()
}

func (w *wrapped) Auth(mechanism string) (sasl.Server, error) {
	if m := w.s.Mechanisms(); len(m) > 0 && !slices.Contains(m, mechanism) {
		return nil, w.answer(Refuse(504, 5, 5, 4, "this way of AUTH is not known here"))
	}
	s, err := w.s.Auth(mechanism)
	return login{s, w}, w.answer(err)
}

// login counts as an error what goes wrong: nobody tries passwords for ever on one
// connection.
type login struct {
	sasl.Server
	w *wrapped
}

func (l login) Next(response []byte) (challenge []byte, done bool, err error) {
	challenge, done, err = l.Server.Next(response)
	if err == nil {
		return challenge, done, nil
	}
	var r *Reply
	if !errors.As(err, &r) {
		err = Refuse(501, 5, 5, 2, "that is no login")
	}
	if l.w.wrongs++; l.w.wrongs > maxWrong {
		l.w.gate.hangUp("421 4.7.0 too many errors, good-bye")
	}
	return nil, false, l.w.answer(err)
}

// answer makes of an error what go-smtp sends. What is not known to be for good is not.
// After 421 the connection is closed: RFC 5321 §3.8.
func (w *wrapped) answer(err error) error {
	if err == nil {
		return nil
	}
	var r *Reply
	if !errors.As(err, &r) {
		r = Refuse(451, 4, 3, 0, "this node has a trouble of its own, try again later")
	}
	if r.Code == 421 {
		w.gate.hangUp("")
	}
	return &smtp.SMTPError{Code: r.Code, EnhancedCode: r.Enhanced, Message: r.line()}
}

// errNeedsUTF8 is RFC 6531 §3.5.
func errNeedsUTF8() *Reply {
	return Refuse(553, 5, 6, 7, "an address that is not ASCII needs MAIL with SMTPUTF8")
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 128 {
			return false
		}
	}
	return true
}
