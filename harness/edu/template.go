package edu

import (
	"fmt"
	"math/big"
	"regexp"
	"strings"
)

// template is a text with expressions in braces: "edu: {a} squared is {a*a:x}".
// A brace that is meant stands twice.
type template struct {
	text   string
	pieces []piece
}

// piece is literal text, or the value of an expression.
type piece struct {
	literal string
	expr    *Expr
	verb    string // of package fmt, without the percent sign
}

var verb = regexp.MustCompile(`^0?[1-9]?[0-9]?[dxXobc]$`)

func parseTemplate(text string, names []string) (*template, error) {
	t := &template{text: text}
	for rest := text; rest != ""; {
		var err error
		if rest, err = t.next(rest, names); err != nil {
			return nil, fmt.Errorf("template %q: %w", clip(text), err)
		}
	}
	return t, nil
}

// next takes a piece off rest.
func (t *template) next(rest string, names []string) (string, error) {
	at := strings.IndexAny(rest, "{}")
	switch {
	case at < 0:
		at = len(rest)
	case strings.HasPrefix(rest[at:], "{{"), strings.HasPrefix(rest[at:], "}}"):
		t.pieces = append(t.pieces, piece{literal: rest[:at+1]})
		return rest[at+2:], nil
	case rest[at] == '}':
		return "", fmt.Errorf("a } without its {; a brace that is meant is written twice")
	}
	if at > 0 {
		t.pieces = append(t.pieces, piece{literal: rest[:at]})
		return rest[at:], nil
	}
	inside, rest, closed := strings.Cut(rest[1:], "}")
	if !closed {
		return "", fmt.Errorf("a { without its }; a brace that is meant is written twice")
	}
	p, err := parsePiece(inside, names)
	t.pieces = append(t.pieces, p)
	return rest, err
}

func parsePiece(inside string, names []string) (p piece, err error) {
	text, verbs, given := strings.Cut(inside, ":")
	if p.verb = "d"; given {
		p.verb = verbs
	}
	if !verb.MatchString(p.verb) {
		return p, fmt.Errorf("{%s}: the form %q is none of d, x, X, o, b, c with a width before it", inside, p.verb)
	}
	p.expr, err = ParseExpr(text, names)
	return p, err
}

// fill is the text for operands.
func (t *template) fill(operands map[string]*big.Int) (string, error) {
	var b strings.Builder
	for _, p := range t.pieces {
		if p.expr == nil {
			b.WriteString(p.literal)
			continue
		}
		v, err := p.expr.Eval(operands)
		if err != nil {
			return "", fmt.Errorf("template %q: %w", clip(t.text), err)
		}
		p.write(&b, v)
	}
	return b.String(), nil
}

func (p piece) write(b *strings.Builder, v *big.Int) {
	if strings.HasSuffix(p.verb, "c") {
		b.WriteByte(byte(lowBits(v, 8).Uint64())) // a char, as C has it
		return
	}
	fmt.Fprintf(b, "%"+p.verb, v)
}
