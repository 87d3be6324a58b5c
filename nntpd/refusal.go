package nntpd

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/internal/nntp"
	"github.com/litfass/litfass/spool"
)

// feedFor is how long a connection may feed before its rights are asked again.
const feedFor = time.Second

// codes are the answers of one command to each kind of refusal. A zero code
// takes that of rest.
type codes struct {
	rest   int // refused for good
	busy   int // try later, and every unknown failure
	absent int
	dup    int
	denied int
}

// The table: RFC 3977 appendix C, RFC 4644 §2.4 and §2.5. TAKETHIS has no code
// for try later but closing with 400.
func forCheck() codes {
	return codes{rest: nntp.CodeCheckRefused, busy: nntp.CodeCheckLater}
}
func forTakethis() codes {
	return codes{rest: nntp.CodeTakethisRefused, busy: nntp.CodeUnavailable}
}
func forOffer() codes {
	return codes{rest: nntp.CodeIhaveRefused, busy: nntp.CodeIhaveLater, denied: nntp.CodeDenied}
}
func forIhave() codes {
	return codes{rest: nntp.CodeIhaveRejected, busy: nntp.CodeIhaveLater}
}
func forPost() codes {
	return codes{rest: nntp.CodePostFailed, busy: nntp.CodePostFailed}
}
func forPostStart() codes {
	return codes{rest: nntp.CodePostNo, busy: nntp.CodePostNo}
}
func denied() codes {
	return codes{rest: nntp.CodeDenied, busy: nntp.CodeInternal, absent: nntp.CodeNoGroup}
}
func forGroup() codes {
	return codes{rest: nntp.CodeNoGroup, busy: nntp.CodeInternal}
}
func forNumber() codes {
	return codes{rest: nntp.CodeNoNumber, busy: nntp.CodeInternal}
}
func forID() codes {
	return codes{rest: nntp.CodeNoID, busy: nntp.CodeInternal}
}

// gone is what reading something that is not there comes to.
func gone() *agent.Refusal {
	return &agent.Refusal{Reason: agent.Absent, Code: "absent", Text: "there is no such article"}
}

// answer translates err: a code and a text for the client. What is no Refusal is
// logged, and the client told to try later.
func (x *session) answer(err error, c codes) (int, string) {
	var r *agent.Refusal
	if errors.Is(err, spool.ErrNotFound) {
		r = gone()
	} else if !errors.As(err, &r) {
		if !errors.Is(err, context.Canceled) {
			x.log().Error("nntp: command failed", "command", verbOf(x.line), "error", err)
		}
		return c.busy, "something went wrong here, try later"
	}
	if r.Err != nil {
		x.log().Warn("nntp: refused", "command", verbOf(x.line), "reason", r.Code, "error", r.Err)
	}
	return x.translate(r, c)
}

// translate looks a refusal up in the table.
func (x *session) translate(r *agent.Refusal, c codes) (int, string) {
	text := oneLine(r.Text)
	pick := func(code int) (int, string) {
		if code == 0 {
			code = c.rest
		}
		return code, text
	}
	switch r.Reason {
	case agent.Busy:
		return c.busy, text
	case agent.Login:
		if x.mayLogin() {
			return nntp.CodeAuthRequired, text
		}
		if x.srv.cfg.Accounts != nil && x.compressed { // RFC 3977 §3.2.1: end it, and begin anew with the right
			return nntp.CodeDenied, text + "; log in before compressing, on a new connection"
		}
		return pick(c.denied)
	case agent.Denied:
		return pick(c.denied)
	case agent.Absent:
		return pick(c.absent)
	case agent.Duplicate:
		return pick(c.dup)
	}
	return c.rest, text
}

// refuse answers err.
func (x *session) refuse(err error, c codes) error {
	x.c.Status(x.answer(err, c))
	return nil
}

// oneLine keeps a text from an article within one answer line of bounded length.
func oneLine(s string) string {
	if len(s) > 400 {
		s = strings.ToValidUTF8(s[:400], "")
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 127 {
			return ' '
		}
		return r
	}, s)
}
