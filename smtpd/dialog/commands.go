package dialog

import (
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-sasl"
)

// obey carries out one command.
func (c *conn) obey(verb, arg string) {
	switch verb {
	case "EHLO", "HELO", "LHLO":
		c.greet(verb, arg)
	case "MAIL":
		c.from(arg)
	case "RCPT":
		c.to(arg)
	case "DATA":
		c.data(arg)
	case "BDAT":
		c.bdat(arg)
	case "RSET":
		c.endTransaction()
		c.say(250, "2.0.0 forgotten")
	case "NOOP":
		c.say(250, "2.0.0 fine")
	case "VRFY": // RFC 5321 §7.3
		c.say(252, "2.5.0 send it, and see")
	case "HELP":
		c.say(214, "2.0.0 RFC 5321; mail to GROUP-help explains the groups")
	case "QUIT":
		c.quit()
	case "STARTTLS":
		c.startTLS(arg)
	case "AUTH":
		c.auth(arg)
	case "EXPN", "TURN", "SEND", "SOML", "SAML", "ETRN":
		c.say(502, "5.5.1 %s is not done here", verb)
	default:
		c.wrong(500, "5.5.2 that is no command of SMTP")
	}
}

// greet answers to HELO, EHLO and LHLO (RFC 2033 §4.1).
func (c *conn) greet(verb, arg string) {
	name, _, _ := strings.Cut(arg, " ")
	switch {
	case c.srv.LMTP && verb != "LHLO":
		c.wrong(500, "5.5.1 this is LMTP: LHLO")
	case !c.srv.LMTP && verb == "LHLO":
		c.wrong(500, "5.5.1 this is SMTP: EHLO")
	case name == "":
		c.wrong(501, "5.5.4 "+verb+" and your name")
	default:
		c.endTransaction()
		c.hello = name
		c.able(verb != "HELO")
	}
}

// able says what is understood here beyond the commands of RFC 821.
func (c *conn) able(extended bool) {
	lines := []string{c.srv.Host}
	if extended {
		lines = append(lines, "PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "CHUNKING",
			fmt.Sprintf("SIZE %d", c.srv.MaxMessage), fmt.Sprintf("LIMITS RCPTMAX=%d", c.srv.MaxRecipients)) // RFC 9422
		if c.canTLS() {
			lines = append(lines, "STARTTLS")
		}
		if m := c.sess.Mechanisms(); len(m) > 0 && !c.authed {
			lines = append(lines, "AUTH "+strings.Join(m, " "))
		}
	}
	last := len(lines) - 1
	for _, l := range lines[:last] {
		fmt.Fprintf(c.w, "250-%s\r\n", l)
	}
	fmt.Fprintf(c.w, "250 %s\r\n", lines[last])
}

// from is MAIL.
func (c *conn) from(arg string) {
	address, rest, ok := path("FROM:", arg)
	params, ok2 := parameters(rest)
	switch {
	case c.hello == "":
		c.wrong(503, "5.5.1 say hello first")
		return
	case c.mail:
		c.wrong(503, "5.5.1 a mail was begun already: RSET forgets it")
		return
	case !ok || !ok2:
		c.wrong(501, "5.5.4 MAIL FROM:<address>, then parameters")
		return
	}
	err := c.suits(params)
	_, utf8 := params["SMTPUTF8"]
	if err == nil && !utf8 && !ascii(address) {
		err = errNeedsUTF8()
	}
	if err == nil {
		err = c.sess.Mail(address)
	}
	if err != nil {
		c.fail(err)
		return
	}
	c.mail, c.utf8 = true, utf8
	c.say(250, "2.1.0 sender taken")
}

// suits says whether a mail with these parameters can be taken.
func (c *conn) suits(params map[string]string) error {
	for name, value := range params {
		switch name {
		case "SIZE": // RFC 1870 §6
			n, err := strconv.ParseUint(value, 10, 63)
			if err != nil {
				return Refuse(501, 5, 5, 4, "SIZE is a number of octets")
			}
			if int64(n) > c.srv.MaxMessage {
				return errTooLarge(c.srv.MaxMessage)
			}
		case "BODY": // RFC 6152 §2
			if !strings.EqualFold(value, "7BIT") && !strings.EqualFold(value, "8BITMIME") {
				return Refuse(501, 5, 5, 4, "BODY is 7BIT or 8BITMIME")
			}
		case "SMTPUTF8": // RFC 6531
		case "AUTH": // RFC 4954 §5: nobody is believed about others
		default:
			return Refuse(555, 5, 5, 4, "the parameter %.40s is not understood", name)
		}
	}
	return nil
}

// errNeedsUTF8 is RFC 6531 §3.5.
func errNeedsUTF8() *Reply {
	return Refuse(553, 5, 6, 7, "an address that is not ASCII needs MAIL with SMTPUTF8")
}

// to is RCPT.
func (c *conn) to(arg string) {
	address, rest, ok := path("TO:", arg)
	params, ok2 := parameters(rest)
	switch {
	case !c.mail:
		c.wrong(503, "5.5.1 MAIL comes first")
	case !ok || !ok2 || address == "":
		c.wrong(501, "5.5.4 RCPT TO:<address>")
	case len(params) > 0:
		c.say(555, "5.5.4 no parameter of RCPT is understood")
	case c.rcpts >= c.srv.MaxRecipients:
		c.say(452, "4.5.3 one mail goes to %d recipients at most", c.srv.MaxRecipients)
	case !ascii(address) && !c.utf8:
		c.fail(errNeedsUTF8())
	default:
		if err := c.sess.Rcpt(address); err != nil {
			c.fail(err)
			return
		}
		c.rcpts++
		c.say(250, "2.1.5 recipient taken")
	}
}

// data is DATA.
func (c *conn) data(arg string) {
	if arg != "" {
		c.wrong(501, "5.5.4 DATA, and nothing more")
		return
	}
	if c.rcpts == 0 {
		c.wrong(503, "5.5.1 no recipient was taken")
		return
	}
	c.say(354, "go on; CRLF . CRLF ends it")
	_ = c.flush() // what fails shows when it is read
	d := &sound{r: newDots(c.r)}
	errs := c.sess.Message(d)
	n, err := io.CopyN(io.Discard, d, c.srv.MaxMessage)
	switch {
	case errors.Is(err, io.EOF):
	case errors.Is(err, errLineEnd), n == c.srv.MaxMessage: // what follows is not known to be commands
		c.over = true
	default: // nobody is there
		c.over = true
		return
	}
	c.answer(errs)
}

// bdat is BDAT, up to the chunk that is the last.
func (c *conn) bdat(arg string) {
	k := &chunks{c: c}
	err := k.begin(arg)
	switch {
	case c.over:
		return
	case c.rcpts == 0:
		c.skip(k)
		c.wrong(503, "5.5.1 no recipient was taken")
		return
	case err != nil:
		c.skip(k)
		c.endTransaction()
		c.fail(err)
		return
	}
	m := &sound{r: k}
	errs := c.sess.Message(m)
	if errors.Is(k.err, errGivenUp) {
		c.endTransaction()
		return
	}
	if c.skip(k) {
		c.over = c.over || m.bad
		c.answer(errs)
	}
}

// skip reads the rest of a chunk, which comes whatever is thought of it (RFC 3030 §2);
// not if it is out of all measure. It says whether there is somebody to answer to.
func (c *conn) skip(k *chunks) bool {
	if c.over = k.left > 2*c.srv.MaxMessage; c.over {
		return true
	}
	_, err := io.CopyN(io.Discard, c.r, k.left)
	c.over = err != nil
	return err == nil
}

// answer says what became of a message: in LMTP to each recipient (RFC 2033 §4.2).
func (c *conn) answer(errs []error) {
	if !c.srv.LMTP {
		errs = errs[:1]
	}
	for _, err := range errs {
		if err != nil {
			c.fail(err)
			continue
		}
		c.say(250, "2.0.0 taken, and on the disk")
	}
	c.endTransaction()
}

func (c *conn) endTransaction() {
	if c.mail {
		c.mail, c.utf8, c.rcpts = false, false, 0
		c.sess.Reset()
	}
}

func (c *conn) canTLS() bool {
	return c.srv.TLS != nil && !c.Secure() && (c.srv.OfferTLS == nil || c.srv.OfferTLS())
}

// startTLS goes on under TLS, and knows nothing then of what was said before: RFC 3207.
func (c *conn) startTLS(arg string) {
	switch {
	case arg != "":
		c.wrong(501, "5.5.4 STARTTLS, and nothing more")
		return
	case !c.canTLS():
		c.wrong(502, "5.5.1 there is no TLS to start")
		return
	case c.r.Buffered() > 0: // somebody in between put it there
		c.fatal(501, "5.5.1 nothing may follow STARTTLS before TLS, good-bye")
		return
	}
	c.say(220, "2.0.0 go on")
	c.endTransaction()
	if c.flush() != nil {
		c.over = true
		return
	}
	_ = c.raw.SetDeadline(time.Time{})
	t := tls.Server(c.raw, c.srv.TLS)
	if c.shake(t) != nil {
		_ = c.raw.Close()
		c.over = true
		return
	}
	c.use(t)
	c.sess = c.srv.Open(c)
}

// auth is AUTH: RFC 4954.
func (c *conn) auth(arg string) {
	mechanism, initial, given := strings.Cut(arg, " ")
	mechanism = strings.ToUpper(mechanism)
	switch {
	case c.hello == "" || c.mail || c.authed:
		c.wrong(503, "5.5.1 AUTH comes after hello, once, before MAIL")
		return
	case len(c.sess.Mechanisms()) > 0 && !slices.Contains(c.sess.Mechanisms(), mechanism):
		c.wrong(504, "5.5.4 this way of AUTH is not known here")
		return
	}
	s, err := c.sess.Auth(mechanism)
	if err != nil {
		c.fail(err)
		return
	}
	var response []byte // nil: none was given
	if given {
		if response, err = decode(initial); err != nil {
			c.wrong(501, "5.5.2 that is no base64")
			return
		}
	}
	c.converse(s, response)
}

// converse goes through a mechanism's challenges.
func (c *conn) converse(s sasl.Server, response []byte) {
	for {
		challenge, done, err := s.Next(response)
		if err != nil {
			c.refuseLogin(err)
			return
		}
		if done {
			c.authed = true
			c.say(235, "2.7.0 welcome")
			return
		}
		c.say(334, "%s", base64.StdEncoding.EncodeToString(challenge))
		line, err := c.line(maxAuth)
		if err == nil && line != "*" {
			response, err = decode(line)
		}
		var bad base64.CorruptInputError
		switch {
		case line == "*":
			c.say(501, "5.7.0 AUTH was given up")
			return
		case errors.Is(err, errLong):
			c.wrong(500, "5.5.6 the line is too long")
			return
		case errors.As(err, &bad):
			c.wrong(501, "5.5.2 that is no base64")
			return
		case err != nil:
			c.over = true
			return
		}
	}
}

// refuseLogin counts as an error: nobody tries passwords for ever on one connection.
func (c *conn) refuseLogin(err error) {
	var r *Reply
	if !errors.As(err, &r) {
		r = Refuse(501, 5, 5, 2, "that is no login")
	}
	c.fail(r)
	if c.wrongs++; c.wrongs > maxWrong {
		c.fatal(421, "4.7.0 too many errors, good-bye")
	}
}

// decode reads base64; "=" is the empty string: RFC 4954 §4.
func decode(s string) ([]byte, error) {
	if s == "=" {
		return []byte{}, nil
	}
	b, err := base64.StdEncoding.DecodeString(s)
	if b == nil {
		b = []byte{}
	}
	return b, err
}
