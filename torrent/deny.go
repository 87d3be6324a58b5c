package torrent

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/litfass/litfass/internal/state"
)

// Deny puts an infohash or SHA-256 on the deny list and removes what it names.
func (s *Store) Deny(hash, reason string) error {
	hash = strings.ToLower(strings.TrimSpace(hash))
	_, errSum := ParseSum(hash)
	h, errHash := ParseInfohash(hash)
	if errSum != nil && (errHash != nil || len(hash) != 40) {
		return fmt.Errorf("deny %q: neither an infohash (40 hexadecimal digits) nor a SHA-256 (64)", hash)
	}
	if reason == "" {
		reason = "-"
	}
	if err := s.db.Update(func(tx *state.Tx) error { return tx.Put(bDeny, hash, []byte(reason)) }); err != nil {
		return fmt.Errorf("deny %s: %w", hash, err)
	}
	s.mu.Lock()
	s.deny[hash] = true
	s.mu.Unlock()
	var hit []Infohash
	if errSum != nil {
		hit = []Infohash{h}
	} else {
		hit = s.users(hash)
	}
	for _, h := range hit {
		if err := s.Remove(h); err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	return nil
}

// users returns the infohashes that point to a file.
func (s *Store) users(sum string) (out []Infohash) {
	_ = s.db.View(func(tx *state.Tx) error {
		tx.Each(bBlob, sum+"/", "", func(key string, _ []byte) bool {
			if h, err := ParseInfohash(key[65:]); err == nil {
				out = append(out, h)
			}
			return true
		})
		return nil
	})
	return out
}

// DenyList reads a deny list: an infohash or SHA-256 in front of each line, the
// rest is a comment; empty lines and those that begin with # are passed.
func (s *Store) DenyList(r io.Reader) error {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		text := strings.TrimSpace(lines.Text())
		if text == "" || text[0] == '#' {
			continue
		}
		hash, why, _ := strings.Cut(text, " ")
		if err := s.Deny(hash, strings.TrimSpace(why)); err != nil {
			return err
		}
	}
	return lines.Err()
}

// Allow takes a hash off the deny list.
func (s *Store) Allow(hash string) error {
	hash = strings.ToLower(strings.TrimSpace(hash))
	if err := s.db.Update(func(tx *state.Tx) error { return tx.Delete(bDeny, hash) }); err != nil {
		return fmt.Errorf("allow %s: %w", hash, err)
	}
	s.mu.Lock()
	delete(s.deny, hash)
	s.mu.Unlock()
	return nil
}

// Denied returns the deny list: the reason of each infohash and SHA-256.
func (s *Store) Denied() (map[string]string, error) {
	out := map[string]string{}
	err := s.db.View(func(tx *state.Tx) error {
		tx.Each(bDeny, "", "", func(hash string, why []byte) bool { out[hash] = string(why); return true })
		return nil
	})
	return out, err
}

func (s *Store) denied(h Infohash, sum Sum) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.deny[h.String()] || !sum.IsZero() && s.deny[sum.String()] {
		return fmt.Errorf("%s %w", h, ErrDenied)
	}
	return nil
}
