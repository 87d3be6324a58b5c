package agent

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/litfass/litfass/article"
)

// cancelVectors are docs/spec/pki-vectors.json, cancel.
type cancelVectors struct {
	Cancel struct {
		Cases []struct {
			Why    string
			Target struct {
				By, U  string
				Groups []article.Group
				Lock   bool `json:"cancel_lock"`
			}
			Order struct {
				By, U, Worth string
				Moderates    []article.Group
				Key          bool             `json:"cancel_key"`
				Device       *[]article.Group `json:"device_in"`
			}
			Result any
		}
	}
}

// moderatorKeys says of a cancel what a vector says.
type moderatorKeys struct {
	Keys
	worth     string
	moderates []article.Group
	device    *[]article.Group
}

func (k moderatorKeys) Judge(context.Context, article.Proof, time.Time, []article.Group) (string, error) {
	return k.worth, nil
}

func (k moderatorKeys) SignerMay(_ context.Context, _ article.Proof, purpose string, groups []article.Group) (out []article.Group, err error) {
	for _, g := range groups {
		if purpose == PurposeModerate && slices.Contains(k.moderates, g) {
			out = append(out, g)
		}
	}
	return out, nil
}

func (k moderatorKeys) Withdraws(_ context.Context, _ article.Proof, _ time.Time, groups []article.Group) (out []article.Group, err error) {
	for _, g := range groups {
		if k.device == nil || slices.Contains(*k.device, g) {
			out = append(out, g)
		}
	}
	return out, nil
}

func proofOf(by, use string) article.Proof {
	if by == "" {
		return article.Proof{}
	}
	return article.Proof{State: article.ProofHolds, Identity: by, Purpose: use}
}

// TestVectorCancel: who may withdraw what where (pki.md §6.4).
func TestVectorCancel(t *testing.T) {
	b, err := os.ReadFile("../docs/spec/pki-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var v cancelVectors
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Cancel.Cases) < 15 {
		t.Fatal("vectors are missing")
	}
	sum := sha256.Sum256([]byte("secret"))
	for _, c := range v.Cancel.Cases {
		order := cancelOrder{ID: "<c@x>", Proof: proofOf(c.Order.By, c.Order.U), Purpose: PurposePost}
		if c.Order.U != PurposePost && c.Order.U != PurposeGate {
			order.Purpose = PurposeControl
		}
		if c.Order.Key {
			order.Keys = "sha256:secret"
		}
		lock := ""
		if c.Target.Lock {
			lock = "sha256:" + base64.StdEncoding.EncodeToString(sum[:])
		}
		a := &Agent{Keys: moderatorKeys{worth: c.Order.Worth, moderates: c.Order.Moderates, device: c.Order.Device}}
		where, all, err := a.mayCancel(t.Context(), proofOf(c.Target.By, c.Target.U), lock, c.Target.Groups, order)
		if err != nil {
			t.Fatal(c.Why, err)
		}
		var got any = []any{}
		for _, g := range where {
			got = append(got.([]any), string(g))
		}
		if all {
			got = "all"
		}
		if !reflect.DeepEqual(got, c.Result) {
			t.Errorf("%s: %v, want %v", c.Why, got, c.Result)
		}
	}
}
