package edu

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"math/big"
	"slices"
	"strings"
)

// Expr is an integer expression over named operands, in Go's syntax: what an
// added function of the device has to answer. Numbers are whole and have as many
// digits as they need; comparisons give 1 or 0.
type Expr struct {
	text string
	root ast.Expr
}

// Bounds of an expression, which a student writes: a tree this small over
// numbers this short is worked out in milliseconds.
const (
	maxExpr  = 1000    // bytes
	maxBits  = 1 << 14 // of any number on the way
	maxSteps = 2000    // of factorial and fib
)

// ExprError is what is wrong with an expression, and where.
type ExprError struct {
	Text   string
	Column int // from 1, in bytes
	Why    string
}

func (e *ExprError) Error() string {
	return fmt.Sprintf("expression %q, column %d: %s", clip(e.Text), e.Column, e.Why)
}

func (x *Expr) fault(at token.Pos, format string, args ...any) *ExprError {
	return &ExprError{Text: x.text, Column: max(1, int(at)), Why: fmt.Sprintf(format, args...)}
}

// ParseExpr reads an expression over the operands in names. It refuses whatever
// Eval does not know.
func ParseExpr(text string, names []string) (*Expr, error) {
	x := &Expr{text: text}
	if len(text) > maxExpr {
		return nil, x.fault(1, "%d bytes are too long, the limit is %d", len(text), maxExpr)
	}
	root, err := parser.ParseExprFrom(token.NewFileSet(), "", text, parser.SkipObjectResolution)
	if err != nil {
		return nil, x.syntax(err)
	}
	x.root = root
	return x, x.check(root, names)
}

func (x *Expr) syntax(err error) error {
	var list scanner.ErrorList
	if errors.As(err, &list) && len(list) > 0 {
		return &ExprError{Text: x.text, Column: max(1, list[0].Pos.Column), Why: list[0].Msg}
	}
	return &ExprError{Text: x.text, Column: 1, Why: err.Error()}
}

// check refuses what is Go and no integer expression.
func (x *Expr) check(n ast.Expr, names []string) error {
	switch n := n.(type) {
	case *ast.ParenExpr:
		return x.check(n.X, names)
	case *ast.BasicLit:
		_, err := x.literal(n)
		return err
	case *ast.Ident:
		if !slices.Contains(names, n.Name) {
			return x.fault(n.Pos(), "there is no operand %s; %s", n.Name, known(names))
		}
		return nil
	case *ast.UnaryExpr:
		if !slices.Contains([]token.Token{token.ADD, token.SUB, token.XOR, token.NOT}, n.Op) {
			return x.fault(n.Pos(), "%s before a number means nothing here", n.Op)
		}
		return x.check(n.X, names)
	case *ast.BinaryExpr:
		return errors.Join(x.check(n.X, names), x.check(n.Y, names))
	case *ast.CallExpr:
		return x.checkCall(n, names)
	}
	return x.fault(n.Pos(), "this is no integer expression: numbers, operands, operators and functions are")
}

func known(names []string) string {
	if len(names) == 0 {
		return "none is declared"
	}
	return "declared are " + strings.Join(names, ", ")
}

func (x *Expr) checkCall(n *ast.CallExpr, names []string) error {
	f, err := x.function(n)
	if err != nil {
		return err
	}
	if len(n.Args) < f.min || len(n.Args) > f.max || n.Ellipsis.IsValid() {
		return x.fault(n.Pos(), "%s", f.usage)
	}
	for _, a := range n.Args {
		if err := x.check(a, names); err != nil {
			return err
		}
	}
	return nil
}

func (x *Expr) function(n *ast.CallExpr) (function, error) {
	name, ok := n.Fun.(*ast.Ident)
	if !ok {
		return function{}, x.fault(n.Pos(), "only functions with a name can be called")
	}
	f, ok := functions[name.Name]
	if !ok {
		return function{}, x.fault(n.Pos(), "there is no function %s; there are %s", name.Name, strings.Join(functionNames(), ", "))
	}
	return f, nil
}

func (x *Expr) literal(n *ast.BasicLit) (*big.Int, error) {
	switch n.Kind {
	case token.INT:
		if v, ok := new(big.Int).SetString(n.Value, 0); ok {
			return v, nil
		}
	case token.CHAR:
		if r := []rune(n.Value); len(r) == 3 {
			return big.NewInt(int64(r[1])), nil
		}
	}
	return nil, x.fault(n.Pos(), "%s is no whole number", n.Value)
}

// Eval works the expression out for operands. It ends soon and takes little
// memory for any expression that ParseExpr took.
func (x *Expr) Eval(operands map[string]*big.Int) (*big.Int, error) {
	return evaluation{x, operands}.of(x.root)
}

// evaluation is one walk of an expression's tree.
type evaluation struct {
	*Expr
	operands map[string]*big.Int
}

func (e evaluation) of(n ast.Expr) (*big.Int, error) {
	switch n := n.(type) {
	case *ast.ParenExpr:
		return e.of(n.X)
	case *ast.BasicLit:
		return e.literal(n)
	case *ast.Ident:
		if v := e.operands[n.Name]; v != nil {
			return v, nil
		}
		return nil, e.fault(n.Pos(), "operand %s has no value", n.Name)
	case *ast.UnaryExpr:
		return e.unary(n)
	case *ast.BinaryExpr:
		return e.binary(n)
	case *ast.CallExpr:
		return e.call(n)
	}
	return nil, e.fault(n.Pos(), "this is no integer expression")
}

func (e evaluation) unary(n *ast.UnaryExpr) (*big.Int, error) {
	v, err := e.of(n.X)
	if err != nil {
		return nil, err
	}
	switch n.Op {
	case token.SUB:
		return new(big.Int).Neg(v), nil
	case token.XOR:
		return new(big.Int).Not(v), nil
	case token.NOT:
		return truth(v.Sign() == 0), nil
	}
	return v, nil
}

func (e evaluation) binary(n *ast.BinaryExpr) (*big.Int, error) {
	a, err := e.of(n.X)
	if err != nil {
		return nil, err
	}
	if decided := a.Sign() != 0; n.Op == token.LOR && decided || n.Op == token.LAND && !decided {
		return truth(decided), nil // as in Go and C, the right side does not count
	}
	b, err := e.of(n.Y)
	if err != nil {
		return nil, err
	}
	v, err := operate(n.Op, a, b)
	if err != nil {
		return nil, e.fault(n.OpPos, "%v%s", err, e.values())
	}
	return v, nil
}

func (e evaluation) call(n *ast.CallExpr) (*big.Int, error) {
	f, err := e.function(n)
	if err != nil {
		return nil, err
	}
	if f.value == nil { // cond: the branch that is not taken does not count
		return e.cond(n)
	}
	args := make([]*big.Int, len(n.Args))
	for i, a := range n.Args {
		if args[i], err = e.of(a); err != nil {
			return nil, err
		}
	}
	v, err := f.value(args)
	if err == nil {
		err = short(v)
	}
	if err != nil {
		return nil, e.fault(n.Pos(), "%v%s", err, e.values())
	}
	return v, nil
}

func (e evaluation) cond(n *ast.CallExpr) (*big.Int, error) {
	c, err := e.of(n.Args[0])
	if err != nil {
		return nil, err
	}
	if c.Sign() != 0 {
		return e.of(n.Args[1])
	}
	return e.of(n.Args[2])
}

// values are the operands, for messages: " (a = 6, b = 0)".
func (e evaluation) values() string {
	var all []string
	for name, v := range e.operands {
		all = append(all, name+" = "+v.String())
	}
	if len(all) == 0 {
		return ""
	}
	slices.Sort(all)
	return " (" + strings.Join(all, ", ") + ")"
}

var (
	errZero     = errors.New("division by zero: give the operand a min of 1, or say what the device answers then with cond(b == 0, ..., ...)")
	errLong     = fmt.Errorf("the number gets longer than %d bits: give the operand a smaller max", maxBits)
	errNegative = errors.New("the number must not be negative")
)

func short(v *big.Int) error {
	if v.BitLen() > maxBits {
		return errLong
	}
	return nil
}

// operate is one of Go's binary operators on integers. Division cuts towards
// zero, as Go's and C's does.
func operate(op token.Token, a, b *big.Int) (*big.Int, error) {
	v := new(big.Int)
	switch op {
	case token.ADD:
		v.Add(a, b)
	case token.SUB:
		v.Sub(a, b)
	case token.MUL:
		v.Mul(a, b)
	case token.QUO, token.REM:
		return divide(op, a, b)
	case token.AND:
		v.And(a, b)
	case token.OR:
		v.Or(a, b)
	case token.XOR:
		v.Xor(a, b)
	case token.AND_NOT:
		v.AndNot(a, b)
	case token.SHL, token.SHR:
		return shift(op, a, b)
	case token.LAND, token.LOR:
		return truth(b.Sign() != 0), nil
	default:
		return compare(op, a.Cmp(b))
	}
	return v, short(v)
}

func divide(op token.Token, a, b *big.Int) (*big.Int, error) {
	if b.Sign() == 0 {
		return nil, errZero
	}
	if op == token.QUO {
		return new(big.Int).Quo(a, b), nil
	}
	return new(big.Int).Rem(a, b), nil
}

func shift(op token.Token, a, b *big.Int) (*big.Int, error) {
	switch {
	case b.Sign() < 0:
		return nil, errNegative
	case op == token.SHR && !below(b, maxBits):
		return new(big.Int).Rsh(a, maxBits), nil
	case op == token.SHR:
		return new(big.Int).Rsh(a, uint(b.Uint64())), nil
	case a.Sign() == 0:
		return a, nil
	case !below(b, maxBits):
		return nil, errLong
	}
	v := new(big.Int).Lsh(a, uint(b.Uint64()))
	return v, short(v)
}

func compare(op token.Token, sign int) (*big.Int, error) {
	switch op {
	case token.EQL:
		return truth(sign == 0), nil
	case token.NEQ:
		return truth(sign != 0), nil
	case token.LSS:
		return truth(sign < 0), nil
	case token.LEQ:
		return truth(sign <= 0), nil
	case token.GTR:
		return truth(sign > 0), nil
	case token.GEQ:
		return truth(sign >= 0), nil
	}
	return nil, fmt.Errorf("%s is no operator on numbers", op)
}

func truth(b bool) *big.Int {
	if b {
		return big.NewInt(1)
	}
	return new(big.Int)
}

// below tells whether 0 <= v <= limit.
func below(v *big.Int, limit int64) bool { return v.Sign() >= 0 && v.IsInt64() && v.Int64() <= limit }
