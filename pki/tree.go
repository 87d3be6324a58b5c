package pki

import (
	"cmp"
	"slices"
	"strings"
)

// Branch is one node of the tree of who vouches for whom, for people.
type Branch struct {
	Subject  string   `json:"subject"`
	Name     string   `json:"name,omitempty"` // what this node calls it
	Status   string   `json:"status,omitempty"`
	Purposes []string `json:"purposes"`         // with scope where it is not everything
	Until    int64    `json:"until,omitempty"`  // Unix seconds: the first of its arrows that ends
	Again    bool     `json:"again,omitempty"`  // drawn further up already
	More     int      `json:"more,omitempty"`   // arrows left out
	Follow   []Branch `json:"follow,omitempty"` // whom it vouches for
}

// Bounds of a tree: the arrows of one identity, and how far from the root.
const (
	maxBranch = 50
	maxHeight = 12
)

// Tree draws the arrows that count from the anchors on, or from one identity.
// names says what identities are called here.
func (l *Ledger) Tree(root ID, names map[ID]string) []Branch {
	l.mu.RLock()
	defer l.mu.RUnlock()
	t := &drawing{l: l, names: map[ID]string{}, drawn: map[uint32]bool{}}
	for id, name := range names {
		t.names[id] = name
	}
	byID := map[ID][]string{}
	var order []ID
	for _, a := range l.anchors {
		if a.Name != "" && t.names[a.ID] == "" {
			t.names[a.ID] = a.Name
		}
		if byID[a.ID] == nil {
			order = append(order, a.ID)
		}
		byID[a.ID] = append(byID[a.ID], scoped(strings.ReplaceAll(a.Purpose, "*", "everything"), a.Scope))
	}
	if !root.IsZero() {
		n, ok := l.g.find(root.Subject())
		if !ok {
			return nil
		}
		return []Branch{t.draw(n, byID[root], 0)}
	}
	var out []Branch
	for _, id := range order {
		if n, ok := l.g.find(id.Subject()); ok {
			out = append(out, t.draw(n, byID[id], 0))
		}
	}
	return out
}

type drawing struct {
	l      *Ledger
	names  map[ID]string
	drawn  map[uint32]bool
	height int // of the branch being drawn
}

func scoped(purpose, scope string) string {
	if scope == "*" {
		return purpose
	}
	return purpose + " in " + scope
}

func (t *drawing) draw(n uint32, purposes []string, until int64) Branch {
	nd := t.l.g.nodes.at(n)
	b := Branch{Subject: nd.sub.String(), Purposes: purposes, Until: until}
	if nd.sub.Kind != SubjectID {
		return b
	}
	b.Name, b.Status = t.names[ID(nd.sub.Hash)], nd.status.String()
	if nd.ident == 0 {
		b.Status = Unheard.String()
	}
	if t.drawn[n] {
		b.Again = true
		return b
	}
	t.drawn[n] = true
	gifts := t.gifts(nd)
	t.height++
	defer func() { t.height-- }()
	for i, g := range gifts {
		if i == maxBranch || t.height > maxHeight {
			b.More = len(gifts) - i
			break
		}
		b.Follow = append(b.Follow, t.draw(g.to, g.purposes, g.until))
	}
	return b
}

// gift is what one identity gives to one subject.
type gift struct {
	to       uint32
	purposes []string
	until    int64
}

// gifts are the arrows of a node that count now, by subject.
func (t *drawing) gifts(nd *node) (gifts []gift) {
	at := map[uint32]int{}
	now := t.l.now().Unix()
	for i := nd.out; i != 0; {
		e := t.l.g.edges.at(i - 1)
		i = e.nextOut
		if e.revoked || now >= e.until {
			continue
		}
		k, ok := at[e.subject]
		if !ok {
			k = len(gifts)
			at[e.subject] = k
			gifts = append(gifts, gift{to: e.subject, until: e.until})
		}
		p := scoped(t.l.g.names[e.purpose], t.l.g.names[e.scope])
		if e.depth > 0 {
			p += ", may pass it on"
		}
		if param := t.l.g.names[e.param]; param != "" {
			p += ", " + param
		}
		gifts[k].purposes = append(gifts[k].purposes, p)
		gifts[k].until = min(gifts[k].until, e.until)
	}
	slices.SortFunc(gifts, func(a, b gift) int {
		return cmp.Compare(t.l.g.nodes.at(a.to).sub.String(), t.l.g.nodes.at(b.to).sub.String())
	})
	for _, g := range gifts {
		slices.Sort(g.purposes)
	}
	return gifts
}

// Names are the accounts that this node hosts, by identity.
func (kr *Keyring) Names() map[ID]string {
	kr.mu.RLock()
	defer kr.mu.RUnlock()
	out := map[ID]string{kr.node.id: "this node"}
	for name, f := range kr.hosted {
		out[f.id] = name
	}
	return out
}

// Tree is Ledger.Tree with the names that this node knows, its accounts' keys too.
func (kr *Keyring) Tree(root ID) []Branch {
	out := kr.Ledger.Tree(root, kr.Names())
	kr.mu.RLock()
	defer kr.mu.RUnlock()
	keys := make(map[string]bool, len(kr.hosted))
	for _, f := range kr.hosted {
		keys[KeyOf(f.device).Subject().String()] = true
	}
	label(out, keys)
	return out
}

// label names the keys that lie here.
func label(list []Branch, keys map[string]bool) {
	for i := range list {
		if keys[list[i].Subject] {
			list[i].Name = "its key on this node"
		}
		label(list[i].Follow, keys)
	}
}
