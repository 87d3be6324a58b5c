package pki

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/litfass/litfass/internal/state"
)

// ByIdentity returns the key events and counting arrows of an identity (§7.3).
func (l *Ledger) ByIdentity(id ID) ([]*Statement, error) {
	rows, err := l.rows(id, 'e')
	if err != nil {
		return nil, err
	}
	var out []*Statement
	for _, r := range rows {
		out = append(out, r.Statement)
	}
	arrows, err := l.Arrows(id)
	return append(out, arrows...), err
}

// ByKey returns the events and arrows that name a key, at most max.
func (l *Ledger) ByKey(k Key, max int) (out []*Statement, err error) {
	err = l.db.View(func(tx *state.Tx) error {
		var ns []string
		tx.Each(bKey, string(k[:]), "", func(key string, _ []byte) bool {
			ns = append(ns, key[32:])
			return len(ns) < max
		})
		for _, n := range ns {
			r, err := readRow(readNum([]byte(n)), tx.Get(bLog, n))
			if err != nil {
				return err
			}
			out = append(out, r.Statement)
		}
		return nil
	})
	return out, err
}

// Lacks says whether statements of others could make k known as a key of id: neither
// is heard of yet. In mode chain it is articles that are missing, not statements.
func (l *Ledger) Lacks(id ID, k Key) bool {
	l.mu.RLock()
	_, status := l.standing(id)
	chain := l.chains[id]
	l.mu.RUnlock()
	if status == Unheard || chain {
		return !chain
	}
	named, err := l.ByKey(k, 1)
	return err == nil && len(named) == 0
}

// vouchersMost bounds the identities whose word Introduction brings along.
const vouchersMost = 8

// Introduction is what somebody needs to judge id who has not heard of it: its events and
// arrows; then of those who vouch for it, and of those who vouch for them, the events
// and those arrows. The nearest come first, at most max statements.
func (l *Ledger) Introduction(id ID, max int) ([]*Statement, error) {
	out, err := l.ByIdentity(id)
	if err != nil {
		return nil, err
	}
	out = out[:min(len(out), max/2)] // events stand first: there is room for who vouches
	line := []ID{id}
	for at := 0; at < len(line) && len(out) < max; at++ {
		for _, v := range l.vouchers(line[at]) {
			if slices.Contains(line, v) || len(line) > vouchersMost {
				continue
			}
			list, err := l.ByIdentity(v)
			if err != nil {
				return nil, err
			}
			for _, s := range list {
				if s.IsEvent() || s.Subject.Kind == SubjectID && slices.Contains(line, ID(s.Subject.Hash)) {
					out = append(out, s)
				}
			}
			line = append(line, v)
		}
	}
	return out[:min(len(out), max)], nil
}

// vouchers are the issuers of the arrows to an identity that count now.
func (l *Ledger) vouchers(id ID) (out []ID) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	n, ok := l.g.find(id.Subject())
	if !ok {
		return nil
	}
	now := l.now().Unix()
	for at := l.g.nodes.at(n).in; at != 0 && len(out) < vouchersMost; {
		e := l.g.edges.at(at - 1)
		at = e.nextIn
		if from := ID(l.g.nodes.at(e.issuer).sub.Hash); !e.revoked && now < e.until && !slices.Contains(out, from) {
			out = append(out, from)
		}
	}
	return out
}

// ErrBeyond: a place was asked for that lies beyond the end of the log.
var ErrBeyond = errors.New("there are fewer statements than that: begin again at 0")

// Since returns the statements that came after place n, in order of arrival, at
// most max, and the place to ask for next.
func (l *Ledger) Since(n uint64, max int) (out []*Statement, next uint64, err error) {
	next = n
	err = l.db.View(func(tx *state.Tx) error {
		var bad error
		tx.Each(bLog, "", num(n+1), func(key string, raw []byte) bool {
			var r Row
			if r, bad = readRow(readNum([]byte(key)), raw); bad == nil {
				out, next = append(out, r.Statement), r.N
			}
			return bad == nil && len(out) < max
		})
		if raw := tx.Get(bMeta, "last"); bad == nil && n > 0 && (len(raw) != 8 || n > readNum(raw)) {
			bad = ErrBeyond
		}
		return bad
	})
	return out, next, err
}

// bMeta holds "last": the newest place given out in bLog.
const bMeta = "meta"

// Last is the place of the newest statement, 0 if there was none yet.
func (l *Ledger) Last() (n uint64, err error) {
	err = l.db.View(func(tx *state.Tx) error {
		if raw := tx.Get(bMeta, "last"); len(raw) == 8 {
			n = readNum(raw)
		}
		return nil
	})
	return n, err
}

// FetchedTo is the place in the log of the directory at url up to which its
// statements were asked for; 0: never.
func (l *Ledger) FetchedTo(url string) (n uint64, err error) {
	err = l.db.View(func(tx *state.Tx) error {
		if raw := tx.Get(bFetched, url); len(raw) == 8 {
			n = readNum(raw)
		}
		return nil
	})
	return n, err
}

// SetFetchedTo notes that place.
func (l *Ledger) SetFetchedTo(url string, n uint64) error {
	return l.db.Update(func(tx *state.Tx) error { return tx.Put(bFetched, url, []byte(num(n))) })
}

// Snapshot writes a gzip of all statements that count, revoked arrows and the
// evidence of forks too (§7.3), in order of arrival.
func (l *Ledger) Snapshot(w io.Writer) error {
	z := gzip.NewWriter(w)
	for n := uint64(0); ; {
		list, next, err := l.Since(n, 1000) // no transaction is held while w is slow
		if err != nil && !errors.Is(err, ErrBeyond) {
			return fmt.Errorf("write a snapshot: %w", err)
		}
		for _, s := range list {
			if _, err := io.WriteString(z, s.text); err != nil {
				return fmt.Errorf("write a snapshot: %w", err)
			}
		}
		if len(list) == 0 {
			return z.Close()
		}
		n = next
	}
}

// ChainText returns the links of an identity in mode chain from q on, as §7.3
// sends them: number of octets, LF, signing input, b, LF; at most 100.
func (l *Ledger) ChainText(id ID, q uint64) ([]byte, error) {
	var out []byte
	n := 0
	err := l.db.View(func(tx *state.Tx) error {
		tx.Each(bChain, string(id[:]), string(id[:])+num(q), func(_ string, raw []byte) bool {
			if len(raw) < 64 {
				return false
			}
			out = append(strconv.AppendInt(out, int64(len(raw)-64), 10), '\n')
			out = append(append(out, raw[64:]...), b64.EncodeToString(raw[:64])...)
			out = append(out, '\n')
			n++
			return n < 100
		})
		return nil
	})
	return out, err
}

// Outbox returns statements made here that are still to be posted, oldest first.
func (l *Ledger) Outbox(max int) (out []Row, err error) {
	err = l.db.View(func(tx *state.Tx) error {
		var ns []string
		tx.Each(bOut, "", "", func(key string, _ []byte) bool { ns = append(ns, key); return len(ns) < max })
		for _, n := range ns {
			raw := tx.Get(bLog, n)
			if raw == nil { // outranked meanwhile
				out = append(out, Row{N: readNum([]byte(n))})
				continue
			}
			r, err := readRow(readNum([]byte(n)), raw)
			if err != nil {
				return err
			}
			out = append(out, r)
		}
		return nil
	})
	return out, err
}

// Posted takes rows out of the outbox.
func (l *Ledger) Posted(rows []Row) error {
	return l.db.Update(func(tx *state.Tx) error {
		for _, r := range rows {
			if err := tx.Delete(bOut, num(r.N)); err != nil {
				return err
			}
		}
		return nil
	})
}

// Backup writes a consistent copy of pki.db to path, which must not exist.
func (l *Ledger) Backup(path string) error { return l.db.Backup(path) }

// Figures are counts for status and metrics.
type Figures struct {
	Identities, Arrows, Held int
	Database                 int64 // octets
}

// Figures counts what is held.
func (l *Ledger) Figures() Figures {
	l.mu.RLock()
	defer l.mu.RUnlock()
	f := Figures{Held: l.held, Database: l.db.Size()}
	f.Identities = int(l.g.keys.n)
	f.Arrows = int(l.g.edges.n)
	for at := l.g.free; at != 0; at = l.g.edges.at(at - 1).nextOut {
		f.Arrows--
	}
	return f
}
