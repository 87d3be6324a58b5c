package web

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/litfass/litfass/torrent"
)

// TestTexts: every language has every text, with the same to be filled in, and the pages
// name no other.
func TestTexts(t *testing.T) {
	all, err := loadTexts()
	if err != nil || all["en"] == nil || all["de"] == nil {
		t.Fatal(all, err)
	}
	verbs := regexp.MustCompile(`%[sd%]`)
	for lang, tx := range all {
		for k, en := range all["en"].words {
			if !slices.Equal(verbs.FindAllString(tx.words[k], -1), verbs.FindAllString(en, -1)) || tx.words[k] == "" {
				t.Errorf("%s: %s = %q, in English %q", lang, k, tx.words[k], en)
			}
		}
		if len(tx.words) != len(all["en"].words) {
			t.Errorf("%s has %d texts, English %d", lang, len(tx.words), len(all["en"].words))
		}
	}
}

func TestLanguage(t *testing.T) {
	h := newHandler(t, Config{})
	for accept, want := range map[string]string{"": "en", "de": "de", "de-AT, en;q=0.5": "de", "fr, DE;q=0.3": "de", "en-GB,de": "en", "xx": "en", strings.Repeat("x,", 1000) + "de": "en"} {
		if got := h.language(accept).Lang; got != want {
			t.Errorf("%.40s: %s, not %s", accept, got, want)
		}
	}
	v := viewPage{view{State: "partial", Have: 1, Size: 3, Fetching: true, Peers: 2}, h.texts["de"]}
	if got := v.Arriving(); !strings.HasPrefix(got, "33 % davon sind hier, 2 andere Rechner geben") {
		t.Error(got)
	}
	if got := v.Octets(1500 << 10); got != "1,5 MiB" {
		t.Error(got)
	}
}

// TestShown: what a page shows of names holds nothing that misleads.
func TestShown(t *testing.T) {
	for in, want := range map[string]string{"a/evil\u202egpj.exe": "evil_gpj.exe", "tab\t": "tab_", "dir": "dir", "": "attachment.bin", "a/CON": "_CON"} {
		if got := shown(in); got != want {
			t.Errorf("%q is shown as %q, not %q", in, got, want)
		}
	}
	h := newHandler(t, Config{})
	if got := (viewPage{view{Infohash: torrent.Infohash{1}.String()}, h.texts["en"]}).Title(); !strings.HasPrefix(got, "0100") {
		t.Error(got)
	}
}
