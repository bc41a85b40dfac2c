import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

const app = "http://127.0.0.1:8000";

export default defineConfig({
  plugins: [react()],
  // clarion-client is a link into this repository here, and would find a React of its own there.
  resolve: { dedupe: ["react", "react-dom"] },
  server: { proxy: { "/events": app, "/tasks": app, "/books": app } },
});
