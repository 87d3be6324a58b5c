package directory

import (
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"os"
	"slices"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/litfass/litfass/pki"
)

// agentVectors are docs/spec/pki-vectors.json, agent.
type agentVectors struct {
	Keys []struct {
		Name string
		Seed string `json:"seed_hex"`
	}
	Agent struct {
		Key       string
		Blob      string `json:"key_blob_hex"`
		Extension struct {
			Contents string `json:"contents_hex"`
			Answer   string `json:"answer_hex"`
		}
		Cases []struct {
			Why       string
			Data      string `json:"data_hex"`
			Plain     bool
			Purposes  []string
			Signature string `json:"signature_hex"`
		}
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestVectorAgent: what the agent signs for whom (pki.md §8).
func TestVectorAgent(t *testing.T) {
	b, err := os.ReadFile("../../docs/spec/pki-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var v agentVectors
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	l := &Lender{}
	for _, k := range v.Keys {
		if k.Name == v.Agent.Key {
			l.Keys = []pki.LentKey{{Key: ed25519.NewKeyFromSeed(unhex(t, k.Seed)), Comment: k.Name}}
		}
	}
	blob := unhex(t, v.Agent.Blob)
	pub, err := ssh.ParsePublicKey(blob)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := l.Extension("sign@pki", unhex(t, v.Agent.Extension.Contents)); err != nil || hex.EncodeToString(got) != v.Agent.Extension.Answer {
		t.Errorf("the extension answers %x, %v", got, err)
	}
	if len(v.Agent.Cases) < 13 {
		t.Fatal("vectors are missing")
	}
	for _, c := range v.Agent.Cases {
		data := unhex(t, c.Data)
		sig, err := l.Sign(pub, data)
		if (err == nil) != c.Plain || err == nil && hex.EncodeToString(sig.Blob) != c.Signature {
			t.Errorf("%s, at a plain request: %v", c.Why, err)
		}
		for _, p := range []string{"article", "statement", "login", "bep44", "", "other"} {
			answer, err := l.Extension("sign@pki", sshString([]byte(p), blob, data))
			if (err == nil) != slices.Contains(c.Purposes, p) || err == nil && hex.EncodeToString(answer[5:]) != c.Signature {
				t.Errorf("%s, as %q: %x %v", c.Why, p, answer, err)
			}
		}
	}
}
