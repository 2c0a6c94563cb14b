package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// apply returns the file below a root that contains the mutant's function, and its content with the mutant.
func (m mutant) apply(root string) (file string, content []byte, err error) {
	dir, function, _ := strings.Cut(m.in, " ")
	names, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
	if err != nil {
		return "", nil, err
	}
	old := normal([]byte(m.old))
	functions := 0
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		source, err := os.ReadFile(name)
		if err != nil {
			return "", nil, err
		}
		if !bytes.Contains(source, []byte(" "+function[strings.LastIndex(function, ".")+1:]+"(")) {
			continue // most files: they need not be parsed
		}
		files := token.NewFileSet()
		parsed, err := parser.ParseFile(files, name, source, parser.SkipObjectResolution)
		if err != nil {
			return "", nil, err
		}
		for _, decl := range parsed.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || nameOf(f) != function || f.Body == nil {
				continue
			}
			functions++
			places := placesOf(f.Body, files.File(f.Pos()), source, old)
			if len(places) != 1 {
				return "", nil, fmt.Errorf("mutant %q: %q stands %d times in %s of %s, expected once: mend the list of mutants",
					m.name, m.old, len(places), function, name)
			}
			at := places[0]
			file, content = name, slices.Concat(source[:at.from], []byte(m.new), source[at.to:])
		}
	}
	if functions != 1 {
		return "", nil, fmt.Errorf("mutant %q: there are %d functions %s in %s, expected one: mend the list of mutants", m.name, functions, function, dir)
	}
	if _, err := parser.ParseFile(token.NewFileSet(), file, content, parser.SkipObjectResolution); err != nil {
		return "", nil, fmt.Errorf("mutant %q is no Go: %w", m.name, err)
	}
	return file, content, nil
}

// nameOf returns the name of a function, after the type of its receiver.
func nameOf(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return f.Name.Name
	}
	t := f.Recv.List[0].Type
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	switch generic := t.(type) {
	case *ast.IndexExpr:
		t = generic.X
	case *ast.IndexListExpr:
		t = generic.X
	}
	return t.(*ast.Ident).Name + "." + f.Name.Name
}

// place is a range in a file.
type place struct{ from, to int }

// placesOf finds the expressions and sequences of statements of a body that have the given normal form.
func placesOf(body *ast.BlockStmt, file *token.File, source []byte, form string) (places []place) {
	try := func(from, to token.Pos) bool {
		p := place{file.Offset(from), file.Offset(to)}
		same := normal(source[p.from:p.to]) == form
		if same && !slices.Contains(places, p) { // a call is both an expression and a statement
			places = append(places, p)
		}
		return same
	}
	run := func(list []ast.Stmt) {
		for i := range list {
			for j := i + 1; j < len(list); j++ {
				try(list[i].Pos(), list[j].End())
			}
		}
	}
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BlockStmt:
			run(n.List)
		case *ast.CaseClause:
			run(n.Body)
		case *ast.CommClause:
			run(n.Body)
		}
		switch n.(type) {
		case ast.Expr, ast.Stmt:
			try(n.Pos(), n.End())
		}
		return true
	})
	return places
}

// normal returns the tokens of Go source: without comments, and independent of line breaks.
func normal(source []byte) string {
	var s scanner.Scanner
	files := token.NewFileSet()
	s.Init(files.AddFile("", files.Base(), len(source)), source, nil, 0)
	var tokens []string
	for {
		_, tok, lit := s.Scan()
		switch tok {
		case token.EOF:
			return strings.Join(slices.DeleteFunc(tokens, func(t string) bool { return t == "" }), " ")
		case token.RBRACE, token.RPAREN, token.RBRACK:
			if last := len(tokens) - 1; last >= 0 && (tokens[last] == ";" || tokens[last] == ",") {
				tokens[last] = "" // required only by a line break
			}
		case token.SEMICOLON:
			lit = ";"
		}
		if lit == "" || tok == token.SEMICOLON {
			lit = tok.String()
		}
		tokens = append(tokens, lit)
	}
}
