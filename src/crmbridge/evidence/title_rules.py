"""The table behind job titles: words of seven languages, in the order in which they are tried.

Patterns are parted by commas and match whole words of the normalised title (lower case, accents folded, punctuation
turned into spaces). Beside plain words they may use what RE2 and Java's expressions share, and these shorthands:

    *    any run of letters                 **   any run of words
    <    the title's beginning              >    the title's end
    .    joins an abbreviation: `c.e.o` finds "CEO", "C.E.O." and "C E O"

German umlauts are written ae, oe, ue and find all three spellings (ä, ae, a).

The first row that matches wins, so traps stand above what they would be mistaken for: "assistant to the CEO" above
"CEO", "product owner" above "owner", "chef de projet" above the German "Chef". Change a row, and raise `RULES_VERSION`.
"""

from __future__ import annotations

from typing import Literal, get_args

RULES_VERSION = 1

Seniority = Literal["board", "c_level", "vp", "director", "head", "manager", "staff", "assistant", "intern", "former", "other"]
Function = Literal[
    "administration", "customer_service", "engineering", "finance", "general_management", "hr", "it", "legal",
    "marketing", "operations", "procurement", "product", "sales", "security", "other",
]  # fmt: skip
BuyingRole = Literal[
    "Decision Maker", "Economic Buyer", "Executive Sponsor", "Technical Buyer", "Evaluator", "Influencer",
    "Business User", "Other",
]  # fmt: skip

SENIORITIES: tuple[Seniority, ...] = get_args(Seniority)
FUNCTIONS: tuple[Function, ...] = get_args(Function)
BUYING_ROLES: tuple[BuyingRole, ...] = get_args(BuyingRole)

# What people type when they have no title; treated as blank.
PLACEHOLDERS = (
    "n", "n a", "na", "nn", "none", "null", "nil", "unknown", "unbekannt", "inconnu", "desconocido", "sconosciuto",
    "tbd", "tbc", "x", "xx", "xxx", "keine angabe", "k a", "not available", "not applicable", "not provided",
)  # fmt: skip

# Rewritten before anything is classified: (pattern, replacement).
REWRITES: tuple[tuple[str, str], ...] = (
    ("(at|bei|chez) **", ""),  # an employer's name says nothing about the job
    ("(reporting|reports) to **", ""),
    ("office of the (c.e.o|c.t.o|c.i.o|c.f.o|c.o.o|president)", ""),
    ("(financial services|student (services|affairs|success|recruitment|life))", ""),
    ("(vice|vize|vise) ?(president*|praesident*|presient|presidnet|pres)|v.p|vicepresidencia", "vp"),
)

SENIORITY_RULES: tuple[tuple[Seniority, str], ...] = (
    ("former", """
        ex, former, formerly, ehemalig*, ehem, retired, pensioniert*, im ruhestand, i.r >, a.d >, ancien, ancienne,
        retraite, retraitee, antiguo, antigua, jubilad*, pensionato
    """),
    ("intern", """
        intern, internship, trainee, apprentice*, *student, *studentin, *studierend*, praktikant*, praktikum, azubi*,
        auszubildend*, dual* studium, lehrling*, volontaer*, stagiaire*, stagiair, alternant*, apprenti*, etudiant*,
        becari*, practicas, practicante, estudiante, aprendiz, stagista, tirocinante, estagiari*, < graduate >
    """),
    ("assistant", """
        (*assistant*|assistent*|asst|asistente|secretar*|aide) (to|of|for|de|du|der|des|von|vom|del|di|do|van),
        (p.a|e.a) to
    """),
    # "Assistant Manager" and the like are junior grades, not assistants.
    ("vp", "(assistant|asst|associate) vp"),
    ("director", "(assistant|asst|associate|deputy)( [a-z]+)? director, company secretary"),
    ("head", "(assistant|asst|deputy) head, head of( the)? [a-z]+ office"),
    ("manager", "(manager|head) of [a-z]+ assistants"),
    ("manager", "(assistant|asst|associate|deputy)( [a-z]+)? (manager|mgr)"),
    ("staff", "(assistant|asst|associate) (professor|buyer|controller|engineer|accountant|editor|counsel)"),
    ("c_level", """
        secretary general, general secretary, generalsekretaer*, secretaire general*, secretari* general,
        segretari* generale
    """),
    ("assistant", """
        *assistant, assistante, assistants, asst, *assistent*, *assistenz*, asistente*, asistenta, secretar*,
        secretaire*, *sekretaer*, *sekretariat*, segretari*, auxiliar*, receptionist*, rezeption*, empfang*,
        receptionniste, recepcionista, p.a, hotesse d accueil
    """),
    # Someone who works for a chief is not one.
    ("staff", """
        (advis?or|adviser|consultant|referent*|berater*|conseill*|asesor*) (to|for|of|der|des|du|de|del|dem|beim) **,
        (vorstands|geschaeftsfuehrungs|geschaeftsleitungs)(referent*|berater*|fahrer*)
    """),
    ("head", "chief of staff, leit* (der|des) (vorstandsbuero*|buero*) **, directeur de cabinet"),
    ("c_level", """
        c.[efiot].o, c.[dmpr].o, c.i.s.o, c.h.r.o, c.s.o, c.c.o, c.l.o, c.x.o, c.a.o, c.d.a.o,
        chief( [a-z]+)+ officer, chief (executive|technical|technology|information|financial|finance|marketing),
        chief (operating|operations|digital|data|people|procurement|product|revenue|commercial|legal|security),
        geschaefts?fuh?r*, co ?geschaeftsfuehr*, *geschaeftsfuehr(er|erin|ung), gf, gfin, geschaeftsleit*,
        *mitglied de[rs] (vorstands|geschaeftsleitung|geschaeftsfuehrung), *vorstand*, p.d.g, d.g, d.g.a,
        consejer* delegad*, administrador* unic*, amministra* delegat*, member of the (executive|management) board,
        (executive|management) board( member)?, md, membre du (directoire|comite de direction|comex|codir),
        comite (de direction|executif), directoire
    """),
    ("vp", "vp, [gears].v.p, [gears]vp"),
    ("board", """
        president(e|a)? (du|del) cons*, non ?executive*, n.e.d, aufsichtsr*, beirat*, verwaltungsrat*,
        board (member|director), (member|director) of (the )?(advisory |supervisory )?board*,
        (advisory|supervisory) board*, board, trustee*, chair, chairman, chairwoman, chairperson, consejer*,
        membre du conseil*, kuratorium, administrat(eur|rice) independant*, commissaris, consiglier*
    """),
    ("staff", """
        (product*|process|service|system|data|application|app|platform|risk|solution|asset|test|feature|it) owner(in|s)?
    """),
    ("c_level", """
        president, presidente, presidenta, prasident*, praesident*, presidnet, owner, co ?owner, founder, co ?founder,
        cofound*, fondat*, co ?fondat*, cofondat*, fundador*, co ?fundador*, *gruender*, mitgruender*, *inhaber*,
        gesellschafter*, entrepreneur*, unternehmer*, proprietor, proprietaire, propietari*, titolare, eigenaar,
        oprichter, dueno, duena, empresari*, gerant, gerante, cogerant*, chef* d entreprise, dirigeant*, soci[oa],
        associe, associee, vennoot, (managing|senior|equity|founding|general|co) partner, < partner >,
        managing (director|dir|member), gerente general, direct(or|ora|rice|eur) (general*|ejecutiv*|gerente),
        dir general*, general director, dirett* generale, diret* geral, (algemeen|statutair) directeur, bestuurder,
        general counsel, bestuursvoorzitter, head of (the )?company, chief executive, *buergermeister*, mayor, maire,
        alcalde*, sindaco, kanzler*, self employed, selbst(st)?aendig*, autonomo
    """),
    ("director", """
        director*, directeur*, directrice*, direktor*, *direktor, *direktorin, dirett*, diretor*, dir, direction,
        direktion, subdirector*, sous direct*, direcor, directer, direccion, prokurist*, ppa, general manager,
        country manager, g.m, directie, d.s.i, d.a.f, d.r.h, r.s.s.i, partner in charge
    """),
    ("manager", """
        *team ?(leiter*|leitung|lead*|leader*|chef*|manager*), *(gruppen|projekt|bau|schicht|produkt)leit*,
        (group|project|program|programme|shift|squad|chapter|tech|technical|technology|team) lead*,
        (project|program|programme|product|produkt|projekt) (manager*|mgr|director), p.m.o, supervisor*,
        chef*( de| du)? (projet*|produit*|equipe*|chantier*|secteur*|rayon|marche|marque), chef* d equipe,
        jef[ea] de (proyecto*|producto*|equipo|obra|turno|linea), responsable (de |du |d )?(projet*|produit*),
        capo ?(progetto|squadra|cantiere), cap[oi] reparto, chefe de projeto*, directeur de projet*, projectleider,
        teamleider, gestor* de proyecto*, coordinat(eur|rice) d equipe, foreman, meister
    """),
    ("staff", "(sous|executive|head|pastry|commis|private) chef, chef (de cuisine|de partie|de rang), koch"),
    ("head", """
        head, heads, *leiter, *leiterin, *leitung, *leitend*, ltg, ltr, abtl, hoofd, chef, chefin, responsable*,
        responsabile*, resp, jef[ea], jefatura, chefe, capo, cheffe, *vorsteher*, dekan*, dean, chief, treasurer,
        tresorier*, tesorer*, principal (of|at) **, bereichsverantw*, abteilungsverantw*, leider, rektor*, rector*,
        obmann, chefarzt*, chefaerzt*, chefredakt*
    """),
    ("staff", """
        account (manager*|mgr),
        key ?accounter*, (customer success|client success|success|relationship|community|social media|case) manager*,
        (office|content|territory|channel account|partner account) manager*, accountmanager*, kam, c.s.m,
        (release|change|configuration|incident|problem|test|scrum|asset) manager*, property manager
    """),
    ("manager", """
        manager*, managr, manger, mananger, manageer, maneger, mgr, mngr, mgmt, *manager, *managerin, gerente*,
        lead >, leader, superintendent*, encargad*, gestionnaire, gestor, gestora, bedrijfsleider,
        administrator (of|de) **, verantwortlich*, *verantwortliche*, *verantwortlicher, steward, cadre,
        coordinat(eur|rice) general*, procuradora?
    """),
    ("staff", """
        *engineer*, enginer, *ingenieur*, ingenier*, ingegner*, engenheir*, *developer*, *entwickler*, developp*,
        desarrollador*, programm*, *analyst*, analista, analyste, *specialist*, *spezialist*, specialiste,
        especialista, *consultant*, *berater*, consult(or|ora|rice), conseill*, consulente, buyer, purchaser,
        *einkaeufer*, acheteu*, comprador*, inkoper*, *sachbearbeit*, *mitarbeit*, *referent*, accountant*,
        *buchhalt*, comptable*, contable, ragionier*, *kaufmann*, *kauffrau*, *kaufleute, *architekt*, *architect*,
        architecte, *designer*, *technik*, technic*, tecnic*, representative*, rep, executive, coordinat*, koordinat*,
        coordenad*, coordina*, *officer, agent, agente, clerk, administrat*, *administrator*, amministrat*,
        controller*, controleu*, *scientist*, recruiter*, *jurist*, juriste*, lawyer, attorney, avocat*, abogad*,
        *anwalt*, *anwaelt*, counsel, paralegal, notar*, teacher*, *lehrer*, profes*, *professor*, enseignant*,
        docente, *nurse*, doctor, *arzt*, *aerzt*, physician*, researcher*, *forscher*, chercheu*, investigador*,
        associate*, partner, *worker*, operator*, operari*, ouvrier*, *arbeiter*, driver, *fahrer*, vendeu*,
        vendedor*, verkaeufer*, commercial, commerciale, comercial, seller, salesman, salesperson, auditor*, auditeu*,
        *pruefer*, *beauftragte*, charge*, *redakteur*, editor*, journalist*, writer*, copywriter, scrum master,
        master, agile coach, coach, tester*, expert*, *experte*, *fachkraft*, fachinformatiker*, informati*er*,
        administrativ*, emplead*, employe*, *angestellt*, staff, member, mitglied, planner*, *planer*, dispo*, guard,
        *wachmann*, vigile, *hausmeister*, janitor, caretaker, concierge, *handwerker*, mechanic*, mechaniker*,
        elektrik*, electrician, asesor*, advis?or*, adviser*, support, lead, principal, disponent*, medewerker*,
        adviseur*, monteur*, trainer*, formateu*, instructor*, strategist*, producer*, librarian*, recruteu*,
        reclutador*, bookkeeper*, dba, funktionaer, impiegat*, addett*, tecnolog*, chef*, gestionnaire*, beamt*,
        vertreter*
    """),
)  # fmt: skip

FUNCTION_RULES: tuple[tuple[Function, str], ...] = (
    ("general_management", """
        secretary general, general secretary, secretaire general*, secretari* general*, generalsekretaer*,
        president(e|a)? (du|del) cons*, owner operator, (c.e.o|president) office
    """),
    ("administration", "personal assistant*"),
    ("operations", "maintenance, quality (control*|assurance*|manage*), qualitaet*, chief of staff"),
    ("procurement", """
        procur*, procument, purchas*, purchaising, purchsing, buyer*, buying, sourcing, *einkauf*, *einkaeuf*,
        *beschaffung*, achat*, acheteu*, approvisionn*, compras, comprador*, adquisicion*, aprovisionamiento*,
        abastecimiento, acquist*, approvvigionament*, inkoop*, inkope*, c.p.r.o, category manage*, vendor manage*,
        supplier manage*, tender*, vergabe*, suprimentos
    """),
    ("legal", """
        legal*, lawyer*, attorney*, counsel, *recht, rechts*, *jurist*, juri[ds]*, avocat*, abogad*, avvocat*,
        advogad*, *anwalt*, *anwaelt*, notar*, compliance*, datenschutz*, d.p.o, data (protection|privacy)*, privacy,
        protection des donnees, company secretary, paralegal, c.l.o, legale, contracts?, vertragsmanage*,
        proteccion de datos, affaires juridiques, cumplimiento
    """),
    ("hr", """
        h.r, hr*, human (resource*|capital), humanressource*, people, personal, personal(leit|wesen|abt*)*,
        personal(referent|manage|chef|entwickl|berat|sach|verwalt|dir|ober)*, recruit*, recrut*, reclut*, talent*,
        d.r.h, r.h, r.r.h.h, rrhh, recursos humanos, ressources humaines, risorse umane, personeel*,
        personalsachbearbeit*, payroll*, lohn*, paie, nominas, c.h.r.o, happiness, learning, training, formation,
        weiterbildung*, ausbildung*, diversity, personale, employer branding, compensation, workforce, p.o.e,
        organisationsentwickl*
    """),
    ("finance", """
        financ*, finanz*, finans*, finanzas, finanza, c.f.o, d.a.f, *controll*, accounting, accountant*,
        accounts (payable|receivable), *buchhalt*, rechnungswesen*, comptab*, contab*, treasur*, tresor*, tesorer*,
        tax, taxes, *steuer*, kfm, fiscal*, audit*, revision*, kaufmaennisch*, controle? de gestion,
        controleu* de gestion, credit, kredit*, investor relations, bilanz*, bookkeep*, billing, facturation,
        facturacion, m a, f p a, risk manage*, administracion y finanzas, financeir*, boekhoud*, amministrazione,
        ragionier*
    """),
    ("sales", """
        sales*, selling, *vertrieb*, *verkauf*, verkaeuf*, vente*, ventas, vendeu*, vendedor*, vendite, vendas,
        verkoop*, commercial*, comercial*, commercieel*, business dev*, d affaires, bus dev, biz ?dev*, b.d.m, b.d.r,
        s.d.r, (account|accounts) (manage*|mgr|exec*|dir*), key ?account*, accountmanager*, kam, c.r.o, c.c.o, c.s.o,
        chief revenue, revenue, aussendienst*, innendienst*, pre ?sales*, presales, partner manage*, channel*,
        partnerships?, alliances?, export*, retail*, grands comptes, *kundenbetreu*, relationship manage*, seller,
        salesman, account, developpement commercial, desarrollo de negocio, handelsvertret*, customer relations,
        merchandis*, shop, store, filial*, technico commercial*
    """),
    ("marketing", """
        market*, mkt*, mktg, mercadeo, mercadotecnia, c.m.o, brand*, marke, marken*, communicat*, *kommunikation*,
        comunica*, communicatie*, p.r, public relations, presse*, press, prensa, s.e.o, s.e.a, content, social media,
        community, demand gen*, growth, digital marketing, campaign*, kampagnen*, advertis*, werbung*, publicit*,
        publicidad, events?, evenement*, c.r.m, e ?commerce, *redakt*, editor*, copywrit*, media*, medien*, creative,
        chef* de (marque|publicite), pr
    """),
    ("security", """
        *security*, securit*, cyber*, c.i.s.o, i.s.o, infosec, r.s.s.i, *sicherheit*, seguridad*, sicurezza,
        seguranca, beveiliging*, s.o.c, cybersicherheit*, pentest*, c.s.i.o
    """),
    ("product", """
        product (owner*|manage*|mgr|lead*|dir*|development|design*|strateg*|analyst*|marketing), product, products,
        produkt*, produit*, producto, productos, prodotto, prodotti, produto, productmanage*, c.p.o, u.x, u.i,
        productowner*, ux*
    """),
    ("it", """
        i.t, c.t.o, c.i.o, c.d.o, d.s.i, s.i, e.d.v, i.k.t, i.c.t, t.i, t.i.c, e.d.p, edv*,
        information (tech*|system*|officer), informatique*, informati[ckz]*, *informatik*, informacion,
        systemes? d information*, systemes, tecnologia*, sistemas, sistemi, systems?,
        system(s)?(admin|techn|integr|ingen|verwalt|betreu)*, *administrator* (systeme?|de sistemas), sysadmin*,
        administrateur*, network*, netzwerk*, reseau*, redes, infrastruct*, infrastrukt*, cloud*, devops*, dev ops,
        s.r.e, data*, daten*, donnees, datos, dati, big data, analytics, b.i, business intelligence, ai, k.i, ml,
        machine learning, digital*, *digitalisierung*, transformation numerique, numerique*, database*, dba,
        application*, anwendung*, applikation*, sap, erp, salesforce, crm admin*, solutions? architect*,
        enterprise architect*, (software|it|cloud|data|technical) architect*, service ?desk*, help ?desk*, scrum*,
        agile*, fachinformatik*, webmaster*, telecom*, telekom*, technology officer, automatisering*, rechenzentrum*,
        architecte (logiciel|technique)
    """),
    ("engineering", """
        engineer*, *engineering*, eng, enginer, engeneer*, *ingenieur*, ingenier*, ingegner*, engenhar*, engenheir*,
        ingenierie, r d, f e, i d, r e d, research*, forsch*, *entwickl*, recherche*, investigacion*, ricerca,
        develop*, developp*, desarroll*, sviluppo, programm?(er|ierer|ateur|ador)*, software*, logiciel*,
        full ?stack*, front ?end*, back ?end*, techn?(isch|ique|ical|ology|ik|olog)*, technolog*, tecnic*, technic*,
        *techniker*, techniek, *konstruktion*, *konstrukteur*, innovation*, c.t.i.o, science, scientif*, scientist*,
        bureau d etudes, mechani*, elektro*, electri*, labor*, laborat*, hardware*, dev, qa, q.a, tester*, test*,
        architekt*, architect*, bauleit*
    """),
    ("customer_service", """
        customer*, client*, *kundenservice*, *kundendienst*, kunden*, clientele, service client*, cliente*, clienti,
        klant*, support*, c.s.m, call ?cent*, contact cent*, after ?sales, s.a.v, service*, kundinnen*, soporte
    """),
    ("operations", """
        operation*, operat*, ops, c.o.o, operaciones, exploitation, betrieb*, produktion*, production*, produccion*,
        produzione, producao, manufactur*, fertigung*, *werk, werks?leit*, werks?(dir|manag|technik)*,
        plant*, usine*, factory,
        planta, stabilimento, fabri*,
        supply*, suply, logist*, lager*, warehouse*, almacen*, magazin*, entrepot, magazzino, *versand*, transport*,
        *fracht*, fleet, fuhrpark*, facilit*, *hausmeister*, janitor, caretaker, concierge, gebaeude*, immobil*,
        real estate, property, quality*, quali*, calidad, qualite, q.m, q.m.b, qhse, hse, ehs, health*, umwelt*,
        nachhaltig*, sustainab*, maintenance, instandhalt*, mantenimiento, manutenzione, process*, prozess*, procesos,
        lean*, project*, projekt*, projet*, proyecto*, progett*, projeto*, program, programme, p.m.o, *schicht*,
        chantier*, obra, cantiere, demand plan*, dispo*, planung*, arbeitsvorbereit*, organisation*, organizacion
    """),
    ("administration", """
        administrat*, *verwaltung*, assistants, asistente*, auxiliar*, *sekretaer*, *sekretariat*,
        secretar*, secretaire*, segretari*, office*, *buero*, bureau*, recepcion*, reception*,
        empfang*, rezeption*, (p.a|e.a)( to)?, clerk*, kaufmann*, kauffrau*, administracion, oficina, accueil
    """),
    ("general_management", """
        c.e.o, chief executive*, president*, prasident*, praesident*, presidnet, owner, co ?owner, founder,
        co ?founder, cofound*, *fondat*, *fundador*, *gruender*, *inhaber*, *gesellschafter*, entrepreneur*,
        unternehmer*, proprietor, proprietaire, propietari*, titolare, eigenaar, oprichter, dueno, duena, empresari*,
        gerant*, cogerant*, chef* d entreprise, dirigeant*, soci[oa], associee?,
        (managing|senior|equity|founding|general|co) partner, < partner >, managing (director|dir|member), md,
        *geschaefts?fuh?r*, gf, gfin, *geschaeftsleit*, *vorstand*, p.d.g, d.g, d.g.a, consejer* delegad*, consejer*,
        administrador* unic*, amministra* delegat*, general (manager|director), general manage*, gerente general,
        direct(or|ora|rice|eur) (general*|ejecutiv*|gerente), dir general*, dirett* generale, diret* geral,
        (algemeen|statutair) directeur, bestuur*, directoire, direction general*, comite (de direction|executif),
        comex, codir, board*, aufsichtsr*, beirat*, verwaltungsrat*, chair*, trustee*, non ?executive*, prokurist*,
        ppa, country manager, g.m, strateg*, executive director, *buergermeister*, mayor, maire, alcalde*, sindaco,
        kanzler*, self employed, selbst(st)?aendig*, niederlassung*, standort*, branch, business unit*,
        secretaire general*, secretary general, general secretary, generalsekretaer*, secretari* general, conseil,
        membre du directoire, vennoot
    """),
)  # fmt: skip

_TECHNICAL: tuple[Function, ...] = ("it", "engineering", "security")
_PURSE: tuple[Function, ...] = ("finance", "procurement")

# (seniorities, functions, role): the first row that fits; an empty tuple fits all.
ROLE_RULES: tuple[tuple[tuple[Seniority, ...], tuple[Function, ...], BuyingRole], ...] = (
    (("former", "assistant", "intern"), (), "Other"),
    (("other",), ("other",), "Other"),
    (("board",), (), "Influencer"),
    (("c_level", "vp", "director", "head"), _PURSE, "Economic Buyer"),
    (("c_level",), ("general_management",), "Decision Maker"),
    (("c_level", "vp"), (), "Executive Sponsor"),
    (("director", "head", "manager"), _TECHNICAL, "Technical Buyer"),
    (("director", "head"), (), "Decision Maker"),
    (("manager", "staff", "other"), ("procurement",), "Evaluator"),
    (("staff", "other"), _TECHNICAL, "Evaluator"),
    (("manager",), (), "Influencer"),
    (("staff", "other"), ("legal", "finance"), "Influencer"),
    ((), (), "Business User"),
)

# The CRM's own words for each suggestion, best first; compared without case, accents, spaces and punctuation.
ROLE_SYNONYMS: dict[BuyingRole, str] = {
    "Decision Maker": """
        Decision Maker, Decisionmaker, Final Decision Maker, Key Decision Maker, Business Decision Maker, Decider,
        Approver, Entscheider, Entscheiderin, Entscheidungsträger, Entscheider/in, Décideur, Décideuse, Décisionnaire,
        Decisor, Decisora, Tomador de decisiones, Responsable de la decisión, Responsabile delle decisioni, Decisore,
        Decision maker, Beslisser, Tomador de decisão, Economic Decision Maker
    """,
    "Economic Buyer": """
        Economic Buyer, Economic Decision Maker, Budget Holder, Budget Owner, Financial Decision Maker,
        Financial Buyer, Budgetverantwortlicher, Budgetverantwortliche, Budgetverantwortliche/r, Budgetinhaber,
        Wirtschaftlicher Entscheider, Wirtschaftlicher Käufer, Kaufmännischer Entscheider, Détenteur du budget,
        Responsable du budget, Responsable budgétaire, Décideur économique, Acheteur économique, Comprador económico,
        Responsable del presupuesto, Titular del presupuesto, Decisor económico, Responsabile del budget, Budgethouder
    """,
    "Executive Sponsor": """
        Executive Sponsor, Exec Sponsor, Sponsor, Project Sponsor, Executive, Sponsor exécutif, Sponsor der GL,
        Sponsor ejecutivo, Patrocinador ejecutivo, Patrocinador, Führungssponsor, Executive-Sponsor,
        Sponsor auf Führungsebene, Promoteur exécutif, Sponsor esecutivo
    """,
    "Technical Buyer": """
        Technical Buyer, Technical Decision Maker, Technical Approver, Technischer Entscheider, Technischer Käufer,
        Technischer Einkäufer, Décideur technique, Acheteur technique, Comprador técnico, Decisor técnico,
        Decisore tecnico
    """,
    "Evaluator": """
        Evaluator, Technical Evaluator, Technical Influencer, Recommender, Evaluierer, Bewerter, Prüfer,
        Technischer Prüfer, Évaluateur, Évaluatrice, Prescripteur, Evaluador, Evaluadora, Valutatore
    """,
    "Influencer": """
        Influencer, Stakeholder, Beeinflusser, Einflussnehmer, Meinungsbildner, Mitentscheider, Influenceur,
        Influenceuse, Influyente, Influenciador, Influenciadora, Influente, Beïnvloeder
    """,
    "Business User": """
        Business User, End User, User, Key User, User Buyer, Anwender, Endanwender, Nutzer, Endnutzer, Benutzer,
        Fachanwender, Utilisateur, Utilisateur final, Utilisateur métier, Usuario, Usuario final, Usuario de negocio,
        Utente, Utente finale, Eindgebruiker, Gebruiker
    """,
    "Other": """
        Other, Others, Sonstige, Sonstiges, Andere, Anderes, Autre, Autres, Otro, Otra, Otros, Altro, Overig, Outro,
        Unknown
    """,
}  # fmt: skip
