package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestConfigPrint: docs/litfass.toml is what the code says, and it reads back as
// the defaults.
func TestConfigPrint(t *testing.T) {
	var b bytes.Buffer
	printConfig(&b)
	golden := filepath.Join("..", "..", "docs", "litfass.toml")
	want, err := os.ReadFile(golden)
	if err != nil || !bytes.Equal(b.Bytes(), want) {
		t.Errorf("%s differs from the code (%v): go run ./cmd/litfass config print > docs/litfass.toml", golden, err)
	}
	file := filepath.Join(t.TempDir(), "litfass.toml")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := loadConfig(file, "")
	if err != nil {
		t.Fatal(err)
	}
	if d := defaults(); cfg.NNTP.MaxArticle != d.NNTP.MaxArticle || cfg.Spool != d.Spool || cfg.HTTP.URL != d.HTTP.URL {
		t.Errorf("printed defaults read back as %+v", cfg)
	}
	if want := filepath.Join(filepath.Dir(file), "data"); cfg.Data != want {
		t.Errorf("data is %s, want %s: relative to the file", cfg.Data, want)
	}
}

func TestConfigErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"host = \"a.example\"\nnntp.lisen = []\n", ":2: unknown key nntp.lisen"},
		{"[nntp]\nlisten = [\"127.0.0.1:1\"]\n\nfoo = 1\n", ":4: unknown key nntp.foo"},
		{"\n[ntp]\nlisten = []\n", ":2: unknown key ntp"},
		{"[[peer]]\nname = \"a\"\n[[peer]]\nname = \"b\"\nsent = \"*\"\n", ":5: unknown key peer.sent"},
		{"[spool]\nkeep = \"4 weeks\"\n", ":2: "},
		{"[spool]\nquota = \"ten\"\n", ":2: "},
		{"[nntp]\nanonymous = \"yes\"\n", "nntp.anonymous: \"yes\" is none of: none, read, post"},
		{"[nntp]\ntrusted = [\"localhost\"]\n", "nntp.trusted: "},
		{"[http]\nlisten = [\"8080\"]\n", "http.listen: "},
		{"host = \"box\"\n", "host: "},
		{"[[peer]]\nname = \"a\"\n[[peer]]\nname = \"a\"\n", "occurs twice"},
		{"[nntp\n", ":2: "},
	} {
		file := filepath.Join(t.TempDir(), "x.toml")
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := loadConfig(file, ""); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want %q", c.text, err, c.want)
		}
	}
}

func TestValues(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"90s": 90 * time.Second, "24h": 24 * time.Hour, "30d": 720 * time.Hour, "1d12h": 36 * time.Hour, "0": 0, "-30m": -30 * time.Minute,
	} {
		if got, err := parseDuration(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "d", "5", "4 weeks", "1x", "-", "1d-2h"} {
		if got, err := parseDuration(text); err == nil {
			t.Errorf("%q is taken as %v", text, got)
		}
	}
	for text, want := range map[string]size{"1MiB": 1 << 20, "256KiB": 256 << 10, "10GiB": 10 << 30, "0": 0, "1500": 1500, "1.5KiB": 1536, "2MB": 2e6} {
		var s size
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want {
			t.Errorf("%s: %v, %v", text, s, err)
		}
	}
	for _, text := range []string{"", "x", "1Mi", "-1KiB", "1 furlong", "NaN"} {
		var s size
		if err := s.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken as %d", text, s)
		}
	}
}

func TestUsage(t *testing.T) {
	for _, c := range []struct {
		args string
		code int
	}{
		{"", 2}, {"nonsense", 2}, {"config", 2}, {"config nonsense", 2}, {"version --nonsense", 2}, {"version extra", 2},
		{"version", 0}, {"--json version", 0}, {"help", 0}, {"help config print", 0}, {"config -h", 0}, {"version -h", 0}, {"--help", 0},
		{"--config /nonexistent/x.toml config check", 1},
	} {
		var out, errs bytes.Buffer
		code := run(t.Context(), strings.Fields(c.args), strings.NewReader(""), &out, &errs, func(string) string { return "" })
		if code != c.code {
			t.Errorf("litfass %s: exit %d, want %d\n%s%s", c.args, code, c.code, &out, &errs)
		}
		if code != 0 && errs.Len() == 0 {
			t.Errorf("litfass %s: fails without a word", c.args)
		}
	}
}
