<%@ page contentType="text/html; charset=UTF-8" session="false" trimDirectiveWhitespaces="true" %>
<%@ page import="jakarta.servlet.http.HttpSession, shop.Build, shop.Cart" %>
<%
    HttpSession session = request.getSession(false);
    Cart cart = session == null ? null : (Cart) session.getAttribute("cart");
    String base = request.getContextPath();
%>
<!DOCTYPE html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="shop-version" content="<%= Build.VERSION %>">
  <title>The shop, version <%= Build.VERSION %></title>
  <link rel="stylesheet" href="<%= base %>/<%= Build.STYLE %>">
  <script src="<%= base %>/<%= Build.SCRIPT %>" defer></script>
</head>
<body>
  <h1><img src="<%= base %>/<%= Build.IMAGE %>" alt="" width="64" height="64"> The shop, version <%= Build.VERSION %></h1>
<% if (cart == null) { %>
  <p id="cart">Nobody is logged in.</p>
<% } else { %>
  <p id="cart"><%= cart.user() %> has added <%= cart.counter() %> to the cart.</p>
<% } %>
</body>
</html>
