package torrent

import (
	"errors"
	"strings"
	"testing"
	"unicode"

	"github.com/litfass/litfass/test/altered"
)

// TestAltered: what must be refused is, with a reason in one line; what is sound is
// taken.
func TestAltered(t *testing.T) {
	t.Parallel()
	for _, a := range altered.All() {
		m, err := ParseMetainfo(a.File, Limits{})
		switch {
		case err == nil && a.Broken:
			t.Errorf("%s: taken", a.Name)
		case err != nil && a.Sound:
			t.Errorf("%s: %v", a.Name, err)
		case err != nil && (!errors.Is(err, ErrMetadata) || len(err.Error()) > 300 || strings.ContainsFunc(err.Error(), unicode.IsControl)):
			t.Errorf("%s: %q", a.Name, err)
		case err == nil:
			if err := sane(m.Info); err != nil {
				t.Errorf("%s: %v", a.Name, err)
			}
		}
	}
}
