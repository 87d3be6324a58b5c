package smtpd

import (
	"bufio"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/state"
)

// The bounds of what waits for its sender to confirm it.
const (
	maxHeld    = 1 << 20 // octets of one mail
	maxWaiting = 500     // mails in all
	perSender  = 5       // mails of one address
	heldFor    = 7 * 24 * time.Hour
)

var errHoldFull = errors.New("too many mails wait for confirmation, try again later")

// heldMail is a mail whose sender has not confirmed it yet.
type heldMail struct {
	Token  string
	From   string
	Groups []article.Group
	Hash   string
	Until  time.Time
	Raw    []byte
}

// holder keeps mails to be confirmed, and the addresses that did. It owns the
// buckets smtp.held and smtp.confirmed of state.db.
type holder struct {
	mails     state.Table[heldMail]
	addresses state.Table[time.Time]
	now       func() time.Time
}

func newHolder(db *state.DB, now func() time.Time) *holder {
	return &holder{mails: state.Table[heldMail]{DB: db, Bucket: "smtp.held"}, addresses: state.Table[time.Time]{DB: db, Bucket: "smtp.confirmed"}, now: now}
}

// confirmed says whether an address has confirmed a mail before.
func (h *holder) confirmed(from string) (bool, error) {
	_, err := h.addresses.Get(from)
	if errors.Is(err, state.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// keep stores m and returns a token for it; "" if the same mail waits already.
func (h *holder) keep(m *message, groups []article.Group, from, envelope string) (string, error) {
	raw, err := io.ReadAll(io.LimitReader(m.octets(), maxHeld+1))
	if err != nil {
		return "", err
	}
	if len(raw) > maxHeld {
		return "", fmt.Errorf("mail to be confirmed: %w", article.ErrTooLarge)
	}
	sum := sha256.Sum256(append([]byte(joinGroups(groups)+"\x00"+envelope+"\x00"), raw...))
	hash := hex.EncodeToString(sum[:16])
	_, all, err := h.mails.List("")
	if err != nil {
		return "", err
	}
	mine, live := 0, 0
	for _, o := range all {
		if o.Until.Before(h.now()) {
			if err := h.mails.Delete(o.Token); err != nil {
				return "", err
			}
			continue
		}
		live++
		if o.From == from {
			mine++
		}
		if o.Hash == hash {
			return "", nil
		}
	}
	if live >= maxWaiting || mine >= perSender {
		return "", errHoldFull
	}
	token := strings.ToLower(rand.Text())
	return token, h.mails.Put(token, heldMail{token, from, groups, hash, h.now().Add(heldFor), raw})
}

// take returns the mail of a token. It stays until done.
func (h *holder) take(token string) (heldMail, bool, error) {
	m, err := h.mails.Get(token)
	if errors.Is(err, state.ErrNotFound) || err == nil && m.Until.Before(h.now()) {
		return heldMail{}, false, nil
	}
	return m, err == nil, err
}

// done remembers the address and forgets the mail.
func (h *holder) done(m heldMail) error {
	if err := h.addresses.Put(m.From, h.now()); err != nil {
		return err
	}
	return h.mails.Delete(m.Token)
}

// copyMbox writes a mail with LF line ends and "From " lines quoted.
func copyMbox(w io.Writer, r io.Reader) error {
	out := bufio.NewWriter(w)
	sc := bufio.NewReader(r)
	for {
		line, err := sc.ReadString('\n')
		if line != "" {
			line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
			if strings.HasPrefix(strings.TrimLeft(line, ">"), "From ") {
				line = ">" + line
			}
			out.WriteString(line + "\n")
		}
		if err == io.EOF {
			out.WriteString("\n")
			return out.Flush()
		}
		if err != nil {
			return err
		}
	}
}
